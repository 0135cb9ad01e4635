import { type Range, RangeSet, RangeSetBuilder } from '../../binary/range-set.js';
import { DiskError } from '../../error/disk-error.js';
import { type Line, readLines } from '../../host/read-lines.js';

/**
 * What of a disk could not be read, as other programs write it down: a map of ddrescue (GNU ddrescue manual, "Mapfile
 * structure"), or a list of numbers, one a line, as badblocks and `ddrescuelog --list-blocks` write it.
 */

/** The statuses of blocks in a map of ddrescue, but for `+`: not tried, not trimmed, not scraped, bad. */
export const badStatuses = ['?', '*', '/', '-'] as const;
export type BadStatus = (typeof badStatuses)[number];

export interface BadSectorsOptions {
  /** Bytes: what the numbers of a list count. Unless given they are offsets in bytes, each of a sector of 512 bytes. */
  readonly sectorSize?: bigint | undefined;
  /** Which blocks of a map of ddrescue count; all that are not finished unless given, since a copy has none of these. */
  readonly statuses?: readonly BadStatus[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface BadSectors {
  readonly format: 'ddrescue' | 'list';
  /** Bytes of the disk. */
  readonly bad: RangeSet;
  /** Those of them that nobody has tried to read. */
  readonly untried: RangeSet;
  /** Where the map of ddrescue ends that was read: nothing is known of what lies behind. */
  readonly end?: bigint | undefined;
  /** Of a list, its largest offset, and the line that has it. */
  readonly last?: { readonly offset: bigint; readonly line: number } | undefined;
}

/** Bytes. */
const plainSector = 512n;
const largest = 2n ** 63n - 1n;

/**
 * Reads a list of what is bad on a disk.
 *
 * @param path a file, or `-` for standard input
 * @throws {DiskError} as readLines; CORRUPT, naming the line; USAGE for an option that is of the other format
 */
export async function readBadSectors(path: string, options: BadSectorsOptions = {}): Promise<BadSectors> {
  const name = path === '-' ? 'standard input' : path;
  const { sectorSize, statuses, signal } = options;
  if (sectorSize !== undefined && sectorSize <= 0n) throw new DiskError('USAGE', 'a sector has at least 1 byte, not 0');
  let format: 'ddrescue' | 'list' | undefined;
  const map = new RescueMap(statuses ?? badStatuses);
  const list = new NumberList(sectorSize);
  for await (const line of readLines(path, signal)) {
    // A comment begins a line, or stands behind white space.
    const words = line.text
      .replace(/(^|\s)#.*$/s, '')
      .split(/\s+/)
      .filter((word) => word !== '');
    if (words.length === 0) continue;
    try {
      if (format === undefined) {
        format = words.length === 1 ? 'list' : 'ddrescue';
        if (format === 'ddrescue') {
          checkStatusLine(words);
          continue;
        }
      }
      if (format === 'ddrescue') map.add(words);
      else list.add(words, line);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw new DiskError('CORRUPT', `${name}, line ${line.number}: ${error.message}`, { device: name });
    }
  }
  if (format === 'ddrescue') {
    if (sectorSize !== undefined) throw new DiskError('USAGE', `${name} is a map of ddrescue, which counts bytes`);
    return { format, bad: map.bad.finish(), untried: map.untried.finish(), end: map.end };
  }
  if (statuses !== undefined) throw new DiskError('USAGE', `${name} is a list of numbers, which have no statuses`);
  return { format: 'list', bad: list.bad.finish(), untried: RangeSet.empty, last: list.last };
}

/** Of the first line: the position, what ddrescue was doing there, since version 1.20 which pass it was. */
function checkStatusLine(words: readonly string[]): void {
  const [position = '', status = '', pass] = words;
  const sound = /^[?*/\-FG+]$/.test(status) && (pass === undefined || /^0*[1-9]\d*$/.test(pass)) && words.length <= 3;
  if (sound && parseInteger(position) !== undefined) return;
  throw new SyntaxError(
    `"${words.join(' ')}" is neither a number alone nor the status line of a ddrescue map, like "0x0 + 1"`,
  );
}

/** The blocks of a map of ddrescue: each begins where the one before ends. */
class RescueMap {
  readonly bad = new RangeSetBuilder();
  readonly untried = new RangeSetBuilder();
  end: bigint | undefined;
  readonly #counted: ReadonlySet<string>;

  constructor(statuses: readonly BadStatus[]) {
    this.#counted = new Set(statuses);
  }

  add(words: readonly string[]): void {
    const [position = '', size = '', status = ''] = words;
    const [offset, length] = [parseInteger(position), parseInteger(size)];
    if (words.length !== 3 || offset === undefined || length === undefined || !/^[?*/+-]$/.test(status)) {
      throw new SyntaxError(`"${words.join(' ')}" is no block: position, size and one of ? * / - + are expected`);
    }
    if (length === 0n) throw new SyntaxError(`the block at ${position} has no bytes`);
    if (offset + length > largest) throw new SyntaxError(`the block ends at ${offset + length}: past 2^63-1`);
    if (this.end !== undefined && offset !== this.end) {
      throw new SyntaxError(`the block begins at ${position}, and the one before ends at 0x${this.end.toString(16)}`);
    }
    this.end = offset + length;
    if (!this.#counted.has(status)) return;
    this.bad.add(offset, length);
    if (status === '?') this.untried.add(offset, length);
  }
}

/** Numbers of sectors, or offsets in them. */
class NumberList {
  readonly bad = new RangeSetBuilder();
  last: { readonly offset: bigint; readonly line: number } | undefined;

  constructor(private readonly sectorSize: bigint | undefined) {}

  add(words: readonly string[], { number: line }: Line): void {
    const [word = ''] = words;
    const number = /^(\d+|0x[0-9a-f]+)$/i.test(word) ? BigInt(word) : undefined;
    if (words.length !== 1 || number === undefined) {
      throw new SyntaxError(`"${words.join(' ')}" is no number`);
    }
    const { offset, length } = this.#sectorOf(number);
    if (offset + length > largest) throw new SyntaxError(`${word} is past 2^63-1 bytes`);
    this.bad.add(offset, length);
    if (this.last === undefined || offset > this.last.offset) this.last = { offset, line };
  }

  #sectorOf(number: bigint): Range {
    if (this.sectorSize !== undefined) return { offset: number * this.sectorSize, length: this.sectorSize };
    return { offset: number - (number % plainSector), length: plainSector };
  }
}

/** As integer constants of C++: decimal, hexadecimal, octal. */
function parseInteger(text: string): bigint | undefined {
  if (/^(0|[1-9]\d*)$/.test(text) || /^0x[0-9a-f]+$/i.test(text)) return BigInt(text);
  return /^0[0-7]+$/.test(text) ? BigInt(`0o${text.slice(1)}`) : undefined;
}
