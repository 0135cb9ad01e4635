import { crc32c } from '@node-rs/crc32';
import { toNumber } from '../../binary/convert.js';
import { bytesOf, viewOf } from '../../binary/layout.js';
import { isZero } from '../../binary/zeros.js';
import type { RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { crcWithout } from './checksum.js';
import {
  cyclesPerHeader,
  headerSizes,
  headerSpan,
  largestRecord,
  logOperation,
  logRecord,
  logRecordMore,
  operationFlags,
  recordChecksum,
  recordMagic,
  recordsInFlight,
} from './log-on-disk.js';
import { basicBlock } from './on-disk.js';
import type { XfsVolume } from './volume.js';

/** Blocks of 512 bytes that the records in flight at a crash may have reached. */
const window = (largestRecord * recordsInFlight) / basicBlock;

/** Blocks of 512 bytes that xfsprogs write at once when they clear a log. */
const clearedAtOnce = 512;

/** A record of the log, whole, with its checksum verified where it has one. */
export interface LogRecord {
  /** Where it begins, in blocks of 512 bytes from the start of the log. */
  readonly block: number;
  /** The block behind it, likewise: 0 at the end of the log. */
  readonly next: number;
  /** Its log sequence number: the cycle that it was written in, above the block. */
  readonly sequence: bigint;
  /** That of the first record whose changes may not be in their places yet. */
  readonly tail: bigint;
  readonly operations: number;
  readonly format: number;
  /** What was logged, with the words that the numbers of cycles had taken the place of. */
  readonly payload: Uint8Array;
}

/**
 * The log of a filesystem: records one behind the other, round and round. Every block of 512 bytes tells in its first word
 * in which round it was written, so the newest record ends where that number falls.
 */
export class Log {
  readonly #offset: bigint;
  /** Blocks of 512 bytes. */
  readonly length: number;

  constructor(
    private readonly volume: XfsVolume,
    private readonly options: RequestOptions,
  ) {
    const { offset, length } = volume.log;
    this.#offset = offset;
    this.length = toNumber(length / BigInt(basicBlock));
  }

  /**
   * The block behind the newest record, or undefined where it cannot be told without a doubt: blocks around it are not of
   * the two rounds that they should be of, as after a crash in the middle of writing.
   *
   * @throws {DiskError} IO, CANCELLED
   */
  async head(): Promise<number | undefined> {
    const { length } = this;
    const first = await this.#cycle(0);
    const last = await this.#cycle(length - 1);
    // Before the first round has ended what is behind the head was never written.
    const whole = first === last;
    if (first === 0 || (!whole && last !== 0 && first !== last + 1)) return undefined;
    const head = whole ? length : await this.#firstOf(last);
    const reach = Math.min(window, length);
    const before = await this.#cycles(Math.max(0, head - reach), head);
    const behind = await this.#cycles(head, Math.min(length, head + reach));
    const round = await this.#cycles(Math.max(head, length - Math.max(0, reach - head)), length);
    const sound = before.every((cycle) => cycle === first) && [...behind, ...round].every((cycle) => cycle === last);
    return sound ? head % length : await this.#headOfCleared(first);
  }

  /**
   * The head of a log as xfs_repair -L, xfs_admin -U, xfs_copy and xfs_mdrestore write it: a record of an unmount at its
   * start, of a new round; zeros, up to where their second write begins; and from there to the end records of unmounts of
   * the round before. The kernel writes no block of zeros, and takes such a log for a clean one.
   */
  async #headOfCleared(round: number): Promise<number | undefined> {
    const [first, second] = [await this.recordAt(0), await this.recordAt(clearedAtOnce)];
    if (first === undefined || second === undefined || !isUnmountRecord(first) || !isUnmountRecord(second)) return;
    const { length } = this;
    const head = first.next;
    const zeros = head < clearedAtOnce ? await this.#blocks(head, clearedAtOnce - head) : undefined;
    if (zeros === undefined || !isZero(zeros)) return;
    const reach = Math.min(window, length - clearedAtOnce);
    const behind = await this.#cycles(clearedAtOnce, clearedAtOnce + reach);
    const last = await this.#cycles(length - reach, length);
    return [...behind, ...last].every((cycle) => cycle === round - 1) ? head : undefined;
  }

  /** The record that ends at a block: undefined where there is none that is whole. @throws {DiskError} IO, CANCELLED */
  async recordBefore(head: number): Promise<LogRecord | undefined> {
    // The largest, and its header.
    const reach = Math.min(this.length, largestRecord / basicBlock + largestRecord / headerSpan);
    for (let back = 1; back <= reach; back++) {
      const block = (head - back + this.length) % this.length;
      if ((await this.#word(block, 0)) !== recordMagic) continue;
      const record = await this.recordAt(block);
      return record?.next === head ? record : undefined;
    }
    return undefined;
  }

  /** The record that begins at a block: undefined where there is none that is whole. @throws {DiskError} IO, CANCELLED */
  async recordAt(block: number): Promise<LogRecord | undefined> {
    const { superblock } = this.volume;
    const header = await this.#blocks(block, 1);
    const raw = logRecord.at(viewOf(header));
    const { h_magicno, h_version, h_len, h_size, h_num_logops, h_fmt, h_lsn, h_tail_lsn, h_cycle } = raw;
    const { log } = superblock;
    if (h_magicno !== recordMagic || h_version !== log.version || h_len === 0 || h_len > largestRecord)
      return undefined;
    if (h_lsn !== ((BigInt(h_cycle) << 32n) | BigInt(block))) return undefined;
    const headers = log.version === 2 && h_size > headerSpan ? Math.ceil(h_size / headerSpan) : 1;
    const blocks = Math.ceil(h_len / basicBlock);
    if (headers > largestRecord / headerSpan || headers + blocks > this.length) return undefined;
    const more = await this.#blocks(block + 1, headers - 1);
    const data = await this.#blocks(block + headers, blocks);
    const cycles = [...raw.h_cycle_data];
    for (let i = 0; i < headers - 1; i++) cycles.push(...logRecordMore.at(viewOf(more), i * basicBlock).xh_cycle_data);
    const stored = viewOf(header).getUint32(recordChecksum, true);
    // mkfs.xfs and xfs_repair write an unmount record without one, and the kernel takes that.
    if (superblock.version >= 5 && stored !== 0) {
      const payload = data.subarray(0, h_len);
      if (!headerSizes.some((size) => checksumOf(header.subarray(0, size), more, payload) === stored)) return undefined;
    }
    if (blocks > headers * cyclesPerHeader) return undefined;
    const words = viewOf(data);
    for (let i = 0; i < blocks; i++) words.setUint32(i * basicBlock, cycles[i] ?? 0);
    return {
      block,
      next: (block + headers + blocks) % this.length,
      sequence: h_lsn,
      tail: h_tail_lsn,
      operations: h_num_logops,
      format: h_fmt,
      payload: data.subarray(0, h_len),
    };
  }

  /** The first block that was written in the round of the last. */
  async #firstOf(last: number): Promise<number> {
    let low = 0;
    let high = this.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((await this.#cycle(middle)) === last) high = middle;
      else low = middle;
    }
    return high;
  }

  async #cycle(block: number): Promise<number> {
    const first = await this.#word(block, 0);
    return first === recordMagic ? await this.#word(block, 4) : first;
  }

  /** Of the blocks from `start` to `end`, half-open. */
  async #cycles(start: number, end: number): Promise<number[]> {
    const view = viewOf(await this.#blocks(start, end - start));
    return Array.from({ length: end - start }, (_, i) => {
      const first = view.getUint32(i * basicBlock);
      return first === recordMagic ? view.getUint32(i * basicBlock + 4) : first;
    });
  }

  async #word(block: number, at: number): Promise<number> {
    return viewOf(await this.#blocks(block, 1)).getUint32(at);
  }

  /** Blocks in a row, which go on at the start behind the end. */
  async #blocks(block: number, count: number): Promise<Uint8Array> {
    const start = block % this.length;
    const here = Math.min(count, this.length - start);
    const parts = [await this.#read(start, here), await this.#read(0, count - here)];
    return here === count ? (parts[0] ?? new Uint8Array(0)) : Buffer.concat(parts);
  }

  async #read(block: number, count: number): Promise<Uint8Array> {
    if (count === 0) return new Uint8Array(0);
    const offset = this.#offset + BigInt(block * basicBlock);
    return bytesOf(await readView(this.volume.device, offset, count * basicBlock, this.options));
  }
}

/** There are as many more headers as the buffer might have needed: the checksum is of those that the record does. */
function checksumOf(header: Uint8Array, more: Uint8Array, payload: Uint8Array): number {
  let crc = crcWithout(header, recordChecksum);
  for (let i = 1; i < Math.ceil(payload.length / headerSpan); i++) {
    const at = (i - 1) * basicBlock;
    crc = crc32c(more.subarray(at, at + logRecordMore.size), crc);
  }
  return crc32c(payload, crc);
}

/** One operation of a record. */
export interface LogOperation {
  readonly transaction: number;
  readonly flags: number;
  readonly region: Uint8Array;
}

/** The operations of a record: undefined where they do not fill it. */
export function operationsOf({ payload, operations }: LogRecord): LogOperation[] | undefined {
  const found: LogOperation[] = [];
  const view = viewOf(payload);
  let at = 0;
  for (let i = 0; i < operations; i++) {
    const start = at + logOperation.size;
    if (start > payload.length) return undefined;
    const { oh_tid: transaction, oh_len: length, oh_flags: flags } = logOperation.at(view, at);
    if (start + length > payload.length) return undefined;
    found.push({ transaction, flags, region: payload.subarray(start, start + length) });
    at = start + length;
  }
  return found;
}

/** Whether a record says that the filesystem was unmounted in good order. */
export function isUnmountRecord(record: LogRecord): boolean {
  const [only, ...others] = operationsOf(record) ?? [];
  return only !== undefined && others.length === 0 && operationFlags.has(only.flags, 'UNMOUNT');
}
