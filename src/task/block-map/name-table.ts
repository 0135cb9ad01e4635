import { DiskError } from '../../error/disk-error.js';
import { atLeast } from './columns.js';

/** The parent of what has none. */
export const noParent = 0xffff_ffff;
/** Names that a table takes: owners are numbered by four times as many, in 32 bits. */
const most = 2 ** 30 - 1;
/** 32-bit FNV-1a. */
const basis = 0x811c_9dc5;
const prime = 0x0100_0193;

/**
 * Names by the million, each of them once under its parent: a file's under its folder, a folder's under its device. A name
 * takes its bytes and 20 more.
 */
export class NameTable {
  #parents = new Uint32Array(1024);
  /** Where each name begins in the text; the next one begins where it ends. */
  #starts = new Float64Array(1025);
  #text = Buffer.allocUnsafe(1 << 16);
  #count = 0;
  /** Open addressing: numbers of names, one more than they are. At most three quarters of it are in use. */
  #slots = new Uint32Array(4096);

  /**
   * The number of the name in `bytes` from `start` to `end`, which is added unless it is there.
   *
   * @throws {DiskError} UNSUPPORTED for more names than there are numbers
   */
  intern(parent: number, bytes: Uint8Array, start: number, end: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = hashOf(parent, bytes, start, end) & mask; ; slot = (slot + 1) & mask) {
      const taken = this.#slots[slot] ?? 0;
      if (taken === 0) return this.#add(parent, bytes, start, end, slot);
      if (this.is(taken - 1, parent, bytes, start, end)) return taken - 1;
    }
  }

  parentOf(name: number): number {
    return this.#parents[name] ?? noParent;
  }

  /** Its own bytes, to be read only. */
  bytesOf(name: number): Buffer {
    return this.#text.subarray(this.#starts[name], this.#starts[name + 1]);
  }

  /** Gives up what finds names: none can be added any more. */
  finish(): void {
    this.#slots = new Uint32Array(0);
  }

  /** Whether a name is the one in `bytes`: cheaper than to find it. */
  is(name: number, parent: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#parents[name] !== parent) return false;
    const from = this.#starts[name] ?? 0;
    if ((this.#starts[name + 1] ?? 0) - from !== end - start) return false;
    for (let i = start; i < end; i++) if (this.#text[from + i - start] !== bytes[i]) return false;
    return true;
  }

  #add(parent: number, bytes: Uint8Array, start: number, end: number, slot: number): number {
    const name = this.#count++;
    if (name > most) throw new DiskError('UNSUPPORTED', `a block map of more than ${most} names`);
    const from = this.#starts[name] ?? 0;
    const to = from + end - start;
    if (to > this.#text.length) {
      const grown = Buffer.allocUnsafe(Math.max(to, this.#text.length * 2));
      this.#text.copy(grown, 0, 0, from);
      this.#text = grown;
    }
    this.#text.set(bytes.subarray(start, end), from);
    this.#parents = atLeast(this.#parents, name + 1, Uint32Array);
    this.#starts = atLeast(this.#starts, name + 2, Float64Array);
    this.#parents[name] = parent;
    this.#starts[name + 1] = to;
    this.#slots[slot] = name + 1;
    if (this.#count * 4 > this.#slots.length * 3) this.#rehash();
    return name;
  }

  #rehash(): void {
    const slots = new Uint32Array(this.#slots.length * 2);
    this.#slots = slots;
    const mask = slots.length - 1;
    for (let name = 0; name < this.#count; name++) {
      let slot = this.#hashOf(name) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = name + 1;
    }
  }

  #hashOf(name: number): number {
    return hashOf(this.parentOf(name), this.#text, this.#starts[name] ?? 0, this.#starts[name + 1] ?? 0);
  }
}

function hashOf(parent: number, bytes: Uint8Array, start: number, end: number): number {
  let hash = (basis ^ parent) >>> 0;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] ?? 0), prime);
  // The last bytes alone may differ: they must not move the name by a few places only.
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d);
  return hash ^ (hash >>> 13);
}
