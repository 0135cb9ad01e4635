import { createHash, randomBytes } from 'node:crypto';
import { fsync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { promisify } from 'node:util';
import { roundUp, toNumber } from '../../../binary/convert.js';
import { viewOf } from '../../../binary/layout.js';
import type { Range, RangeSet } from '../../../binary/range-set.js';
import { sha256 } from '../../../binary/sha256.js';
import { zeroRuns } from '../../../binary/zeros.js';
import type { BlockDevice } from '../../../device/block-device.js';
import { rangeBuffer, readRange } from '../../../device/read-range.js';
import { DiskError } from '../../../error/disk-error.js';
import { wrapSystemError } from '../../../host/errno.js';
import { call } from '../../../host/libc.js';
import { closeFile } from '../../../host/open-file.js';
import { writeAt } from '../../../host/positioned.js';
import { Folder } from '../../../host/tmpfile.js';
import { inParallel } from '../../in-parallel.js';
import { type UsedDigest, windowSize } from '../used-digest.js';
import type { Batch } from './batches.js';
import {
  givenEntry,
  mostEntries,
  mostPiece,
  pieceEntry,
  type RecordType,
  recordType,
  recordUnit,
  undoDataOffset,
  undoHeader,
  undoMagic,
  undoRecord,
  undoRecordMagic,
  undoVersion,
  usedEntry,
} from './on-disk.js';

const syncFd = promisify(fsync);

/** Bytes: what hosts allocate by. Zeros are looked for in blocks of it. */
const hostBlock = 4096;
/** Reads under way at once. */
const depth = 4;

/** A piece that is kept. */
interface Kept extends Range {
  readonly digest: Uint8Array;
}

/** An undo file that is being written. Whoever gives a batch back has waited until {@link UndoFile.keep} has it. */
export class UndoFile implements AsyncDisposable {
  readonly #id = randomBytes(16);
  /** Where the next record goes. */
  #at: bigint;
  #sequence = 0n;
  #batches = 0;
  #kept = 0n;
  /** The pieces of the last batch. */
  #last: readonly Kept[] = [];

  private constructor(
    readonly path: string,
    private readonly folder: Folder,
    private readonly fd: number,
    private readonly diskSize: bigint,
  ) {
    this.#at = undoDataOffset + roundUp(diskSize, BigInt(hostBlock));
  }

  /**
   * Makes a new file, for its owner alone.
   *
   * @throws {DiskError} UNSAFE (`reason`: `undo-exists`) when the name is taken; IO when the filesystem holds no file of
   * that size
   */
  static async create(path: string, diskSize: bigint): Promise<UndoFile> {
    if (path === '' || path.endsWith('/')) throw new DiskError('USAGE', `--undo '${path}' names no file`);
    const folder = await Folder.open(dirname(path));
    try {
      const fd = await folder.create(basename(path));
      if (fd === undefined) throw alreadyThere(path);
      const file = new UndoFile(path, folder, fd, diskSize);
      try {
        call('ftruncate', `of ${path} to ${file.#at} bytes`, fd, file.#at);
        return file;
      } catch (error) {
        await closeFile(fd);
        await folder.remove(basename(path));
        throw error;
      }
    } catch (error) {
      await folder[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Says what will be given back, and what must stay as it is. */
  async begin(given: RangeSet, used: UsedDigest): Promise<void> {
    const givenHash = createHash('sha256');
    const logOffset = this.#at;
    for (const ranges of inGroups(given)) {
      const entries = entriesOf(ranges, givenEntry.size, (view, base, range) => givenEntry.put(view, range, base));
      givenHash.update(entries);
      await this.#append('given', ranges.length, entries);
    }
    for (const windows of inGroups(used)) {
      const entries = entriesOf(windows, usedEntry.size, (view, base, { window, digest }) =>
        usedEntry.put(view, { window: BigInt(window), digest }, base),
      );
      await this.#append('used', windows.length, entries);
    }
    const header = Buffer.alloc(undoHeader.size);
    undoHeader.put(viewOf(header), {
      magic: undoMagic,
      version: undoVersion,
      windowSize,
      diskSize: this.diskSize,
      dataOffset: undoDataOffset,
      logOffset,
      givenCount: BigInt(given.count),
      usedCount: BigInt(used.count),
      givenDigest: givenHash.digest(),
      usedDigest: used.sum(),
      id: this.#id,
    });
    const { offset } = undoHeader.fields.checksum;
    undoHeader.put(viewOf(header), { checksum: await sha256(header.subarray(0, offset)) });
    await this.#write(header, 0n);
  }

  /**
   * Keeps what a batch would lose; it is on the disk when this resolves, and nothing of the batch is known when it rejects.
   *
   * @throws {DiskError} IO (ENOSPC and others); what reading the disk throws
   */
  async keep(disk: BlockDevice, { start, end, pieces }: Batch, signal: AbortSignal | undefined): Promise<void> {
    const kept: Kept[] = [];
    const next = pieces[Symbol.iterator]();
    await inParallel(depth, signal, async (stop) => {
      const buffer = rangeBuffer(disk, mostPiece);
      for (let piece = next.next(); piece.done !== true; piece = next.next()) {
        const { offset, length } = piece.value;
        const bytes = await readRange(disk, buffer, offset, toNumber(length), { signal: stop });
        for (const [from, to] of dataIn(bytes)) {
          kept.push(await this.#keepPiece(bytes.subarray(from, to), offset + BigInt(from)));
        }
      }
    });
    kept.sort((a, b) => (a.offset < b.offset ? -1 : 1));
    const entries = entriesOf(kept, pieceEntry.size, (view, base, { offset, length, digest }) =>
      pieceEntry.put(view, { offset, length, digest }, base),
    );
    await this.#append('batch', kept.length, entries, start, end);
    await this.#sync();
    if (this.#batches === 0) await this.folder.sync();
    this.#batches++;
    this.#last = kept;
    for (const { length } of kept) this.#kept += length;
  }

  /** Bytes that are kept. */
  get kept(): bigint {
    return this.#kept;
  }

  /** Forgets the only batch, unless something of it was given back: what cannot be done may have been done in part. */
  async forgetUntouched(disk: BlockDevice): Promise<void> {
    const buffer = rangeBuffer(disk, mostPiece);
    for (const { offset, length, digest } of this.#last) {
      const bytes = await readRange(disk, buffer, offset, toNumber(length), {});
      if (Buffer.compare(await sha256(bytes), digest) !== 0) return;
    }
    this.#batches = 0;
    this.#kept = 0n;
  }

  /** Everything has been given back. */
  async end(): Promise<void> {
    await this.#append('end', 0, Buffer.alloc(0));
    await this.#sync();
  }

  /** Of a file that keeps nothing, nothing is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#batches === 0) await this.folder.remove(basename(this.path));
    } finally {
      try {
        await closeFile(this.fd);
      } finally {
        await this.folder[Symbol.asyncDispose]();
      }
    }
  }

  async #keepPiece(bytes: Uint8Array, offset: bigint): Promise<Kept> {
    const digest = await sha256(bytes);
    await this.#write(bytes, undoDataOffset + offset);
    return { offset, length: BigInt(bytes.length), digest };
  }

  async #append(type: RecordType, count: number, entries: Buffer, start = 0n, end = 0n): Promise<void> {
    const length = roundUp(BigInt(undoRecord.size + entries.length), BigInt(recordUnit));
    const record = Buffer.alloc(toNumber(length));
    record.set(entries, undoRecord.size);
    undoRecord.put(viewOf(record), {
      magic: undoRecordMagic,
      type: recordType[type],
      count,
      sequence: this.#sequence,
      start,
      end,
      id: this.#id,
      entriesDigest: await sha256(entries),
    });
    const { offset } = undoRecord.fields.checksum;
    undoRecord.put(viewOf(record), { checksum: await sha256(record.subarray(0, offset)) });
    await this.#write(record, this.#at);
    this.#at += length;
    this.#sequence++;
  }

  #write(from: Uint8Array, offset: bigint): Promise<void> {
    return writeAt(this.fd, from, offset, this.path);
  }

  async #sync(): Promise<void> {
    await syncFd(this.fd).catch((error: unknown) => {
      throw wrapSystemError(`fsync of ${this.path}`, error);
    });
  }
}

function alreadyThere(path: string): DiskError {
  const message = `${path} is there already, and may be all that is left of what was given back: choose another name`;
  return new DiskError('UNSAFE', message, { device: path, errno: 'EEXIST', reason: 'undo-exists' });
}

/** What of a piece is more than zeros, in whole blocks. */
function dataIn(bytes: Uint8Array): [from: number, to: number][] {
  const runs: [number, number][] = [];
  zeroRuns(bytes, hostBlock, (from, to, zero) => {
    if (!zero) runs.push([from, to]);
  });
  return runs;
}

/** As many at a time as a record takes. */
function* inGroups<Item>(items: Iterable<Item>): Generator<Item[]> {
  let group: Item[] = [];
  for (const item of items) {
    group.push(item);
    if (group.length < mostEntries) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

function entriesOf<Item>(
  items: readonly Item[],
  size: number,
  put: (view: DataView, base: number, item: Item) => void,
): Buffer {
  const entries = Buffer.alloc(items.length * size);
  const view = viewOf(entries);
  for (const [i, item] of items.entries()) put(view, i * size, item);
  return entries;
}
