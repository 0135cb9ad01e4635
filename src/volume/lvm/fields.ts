import { DiskError } from '../../error/disk-error.js';
import { isSection, type Scalar, type Section } from './config-text.js';

/** Takes the fields of one section of the metadata by name, each checked for its type and range. */
export class Fields {
  constructor(
    readonly section: Section,
    /** Which section it is, of which text: `root of LVM2 metadata text at byte 0x1200 of …`. */
    readonly where: string,
  ) {}

  /** @throws {DiskError} CORRUPT when it is missing, no integer, or outside of `from` … `to` */
  integer(key: string, { from, to }: { readonly from: bigint; readonly to: bigint }): bigint {
    const value = this.section.get(key);
    if (typeof value !== 'bigint' || value < from || value > to) throw this.wrong(key, `${from} to ${to}`);
    return value;
  }

  /** @throws {DiskError} CORRUPT when it is missing or no string */
  string(key: string): string {
    const value = this.section.get(key);
    if (typeof value !== 'string') throw this.wrong(key, 'a string');
    return value;
  }

  optionalString(key: string): string | undefined {
    return this.section.has(key) ? this.string(key) : undefined;
  }

  /** An absent list is empty. */
  list(key: string): readonly Scalar[] {
    const value = this.section.get(key) ?? [];
    if (!Array.isArray(value)) throw this.wrong(key, 'a list');
    return value;
  }

  strings(key: string): readonly string[] {
    const list = this.list(key).filter((item) => typeof item === 'string');
    if (list.length !== this.list(key).length) throw this.wrong(key, 'a list of strings');
    return list;
  }

  /** A UUID as LVM2 writes it. */
  uuid(key: string): string {
    const value = this.string(key);
    if (!/^[\w!#]{6}(?:-[\w!#]{4}){5}-[\w!#]{6}$/.test(value)) throw this.wrong(key, 'a UUID of LVM2');
    return value;
  }

  /** The sections in it; of a named section in it when `key` is given, where an absent one has none. */
  sections(key?: string): [name: string, fields: Fields][] {
    const entry = key === undefined ? this.section : (this.section.get(key) ?? new Map());
    if (!isSection(entry)) throw this.wrong(key ?? '', 'a section');
    const found: [string, Fields][] = [];
    for (const [name, inner] of entry) {
      if (isSection(inner)) found.push([name, new Fields(inner, `${name} of ${this.where}`)]);
    }
    return found;
  }

  wrong(key: string, expected: string, actual: unknown = this.section.get(key)): DiskError {
    const shown = actual === undefined ? 'missing' : isSection(this.section.get(key)) ? 'a section' : short(actual);
    return DiskError.corrupt({ structure: this.where, field: key, actual: shown, expected });
  }
}

/** What a disk says may be of any length. */
function short(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
