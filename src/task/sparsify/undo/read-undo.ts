import { createHash } from 'node:crypto';
import { roundUp, toNumber } from '../../../binary/convert.js';
import { bytesOf } from '../../../binary/layout.js';
import { type Range, type RangeSet, RangeSetBuilder } from '../../../binary/range-set.js';
import { sha256, sha256Size } from '../../../binary/sha256.js';
import type { BlockDevice } from '../../../device/block-device.js';
import { readView } from '../../../device/read-view.js';
import { DiskError } from '../../../error/disk-error.js';
import { UsedDigest, windowSize } from '../used-digest.js';
import {
  entryLayouts,
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

/** A record whose checksums hold. */
interface FoundRecord {
  readonly type: RecordType;
  /** Bytes from the start of the file. */
  readonly at: bigint;
  readonly count: number;
  readonly start: bigint;
  readonly end: bigint;
  readonly entriesDigest: Uint8Array;
}

/** A part of the disk whose bytes are kept. */
export interface KeptBatch {
  readonly start: bigint;
  readonly end: bigint;
  readonly pieces: readonly KeptPiece[];
}

export interface KeptPiece extends Range {
  readonly digest: Uint8Array;
}

/** What an undo file holds. The file is the caller's, and stays open while batches are asked for. */
export interface UndoContents {
  /** Bytes of the disk. */
  readonly diskSize: bigint;
  /** All that was to be given back. */
  readonly given: RangeSet;
  /** What was in use. */
  readonly used: UsedDigest;
  /** How many batches are whole. */
  readonly batchCount: number;
  /** Whether all was given back that was to be. Otherwise the last part of it was not, and is as it was. */
  readonly ended: boolean;
  /** The batches that are whole, in order. */
  batches(signal: AbortSignal | undefined): AsyncGenerator<KeptBatch, void, undefined>;
  /** The bytes of a piece. @throws {DiskError} CORRUPT when they are not those that were kept */
  read(piece: KeptPiece, signal: AbortSignal | undefined): Promise<Uint8Array>;
}

type Header = ReturnType<typeof undoHeader.at>;

/**
 * Reads an undo file. A last record that is not whole speaks of nothing that was given back, and is passed over; anything
 * else that is not as it was written is damage.
 *
 * @throws {DiskError} CORRUPT; UNSUPPORTED for another version; IO, CANCELLED
 */
export async function readUndo(file: BlockDevice, signal: AbortSignal | undefined): Promise<UndoContents> {
  const header = await readHeader(file, signal);
  const records = await readRecords(file, header, signal);
  const { given, givenDigest, used } = await readTables(file, header, records, signal);
  const whole = records.filter(({ type }) => type === 'batch');
  if (whole.length > 0) {
    const tables = { givenCount: given.count, usedCount: used.count };
    for (const [field, actual] of Object.entries(tables)) {
      const expected = field === 'givenCount' ? header.givenCount : header.usedCount;
      if (BigInt(actual) !== expected) throw corrupt(file, { structure: undoHeader.name, field, actual, expected });
    }
    const sums = {
      givenDigest: [givenDigest, header.givenDigest],
      usedDigest: [used.sum(), header.usedDigest],
    } as const;
    for (const [field, [actual, expected]] of Object.entries(sums)) {
      if (Buffer.compare(actual, expected) !== 0) throw corrupt(file, { structure: undoHeader.name, field });
    }
  }
  const { diskSize } = header;
  return {
    diskSize,
    given,
    used,
    batchCount: whole.length,
    ended: records.at(-1)?.type === 'end',
    batches: (stop) => batches(file, given, whole, stop),
    read: (piece, stop) => readPiece(file, piece, stop),
  };
}

async function readHeader(file: BlockDevice, signal: AbortSignal | undefined): Promise<Header> {
  const device = file.name;
  const structure = 'undo file header';
  if (file.facts.size < BigInt(undoHeader.size)) throw noUndoFile(file);
  const view = await readView(file, 0n, undoHeader.size, { signal });
  const header = undoHeader.at(view);
  if (header.magic !== undoMagic) throw noUndoFile(file);
  if (header.version !== undoVersion) {
    throw DiskError.unsupported({ device, structure, field: 'version', actual: header.version, expected: undoVersion });
  }
  await checkSum(file, 0n, view, undoHeader);
  const logOffset = undoDataOffset + roundUp(header.diskSize, 4096n);
  const fields = {
    windowSize: [header.windowSize, windowSize],
    dataOffset: [header.dataOffset, undoDataOffset],
    logOffset: [header.logOffset, logOffset],
  } as const;
  for (const [field, [actual, expected]] of Object.entries(fields)) {
    if (actual !== expected) throw corrupt(file, { structure, field, actual, expected });
  }
  if (logOffset > file.facts.size) throw corrupt(file, { structure, field: 'logOffset', actual: logOffset });
  return header;
}

/** The magic comes last to the disk: without it, nothing was given back. */
function noUndoFile(file: BlockDevice): DiskError {
  const why = 'is no undo file of disktool, or was cut off before anything was given back';
  return new DiskError('CORRUPT', `${file.name}: ${why}`, { device: file.name, reason: 'no-undo-file' });
}

/** Checks the digest at the end of a structure. */
async function checkSum(
  file: BlockDevice,
  at: bigint,
  view: DataView,
  { name, fields }: Pick<typeof undoHeader | typeof undoRecord, 'name' | 'fields'>,
): Promise<void> {
  if (await sumHolds(view, fields.checksum.offset)) return;
  throw corrupt(file, { structure: name, offset: at, field: 'checksum' });
}

async function sumHolds(view: DataView, offset: number): Promise<boolean> {
  const bytes = bytesOf(view);
  const sum = await sha256(bytes.subarray(0, offset));
  return Buffer.compare(sum, bytes.subarray(offset, offset + sha256Size)) === 0;
}

/** All records that are whole, in order. */
async function readRecords(file: BlockDevice, header: Header, signal: AbortSignal | undefined): Promise<FoundRecord[]> {
  const { size } = file.facts;
  const records: FoundRecord[] = [];
  for (let at = header.logOffset; at < size; ) {
    if (signal?.aborted) throw DiskError.cancelled(signal);
    const record = await readRecord(file, header, at, BigInt(records.length), signal);
    if (record === undefined) {
      await refuseLaterRecord(file, header, at, signal);
      break;
    }
    records.push(record);
    at += roundUp(BigInt(undoRecord.size + record.count * entrySizeOf(record.type)), BigInt(recordUnit));
  }
  checkOrder(file, records, header.diskSize);
  return records;
}

/** Undefined: not whole. */
async function readRecord(
  file: BlockDevice,
  header: Header,
  at: bigint,
  sequence: bigint,
  signal: AbortSignal | undefined,
): Promise<FoundRecord | undefined> {
  const { size } = file.facts;
  if (at + BigInt(undoRecord.size) > size) return undefined;
  const view = await readView(file, at, undoRecord.size, { signal });
  const record = undoRecord.at(view);
  if (record.magic !== undoRecordMagic || !(await sumHolds(view, undoRecord.fields.checksum.offset))) return undefined;
  if (Buffer.compare(record.id, header.id) !== 0 || record.sequence !== sequence) return undefined;
  const type = typeOf(record.type);
  const { count, start, end, entriesDigest } = record;
  if (type === undefined || count > mostEntries) return undefined;
  const length = count * entrySizeOf(type);
  if (at + BigInt(undoRecord.size + length) > size) return undefined;
  const entries = bytesOf(await readView(file, at + BigInt(undoRecord.size), length, { signal }));
  if (Buffer.compare(await sha256(entries), entriesDigest) !== 0) return undefined;
  return { type, at, count, start, end, entriesDigest };
}

function typeOf(value: number): RecordType | undefined {
  for (const type of ['given', 'used', 'batch', 'end'] as const) if (recordType[type] === value) return type;
  return undefined;
}

function entrySizeOf(type: RecordType): number {
  return type === 'end' ? 0 : entryLayouts[type].size;
}

/** Of a file that was cut off, only the last record can be torn: a whole one behind it means damage. */
async function refuseLaterRecord(
  file: BlockDevice,
  header: Header,
  at: bigint,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { size } = file.facts;
  const step = 1n << 20n;
  for (let from = at; from < size; from += step) {
    const length = toNumber(size - from < step ? size - from : step);
    const view = await readView(file, from, length, { signal });
    for (let i = from === at ? recordUnit : 0; i + undoRecord.size <= length; i += recordUnit) {
      const record = undoRecord.at(view, i);
      if (record.magic !== undoRecordMagic || Buffer.compare(record.id, header.id) !== 0) continue;
      throw corrupt(file, { structure: undoRecord.name, offset: at, field: 'checksum' });
    }
  }
}

/** Tables, then batches without a gap, then the end. */
function checkOrder(file: BlockDevice, records: readonly FoundRecord[], diskSize: bigint): void {
  const order: readonly RecordType[] = ['given', 'used', 'batch', 'end'];
  let last = 0;
  let reached = 0n;
  for (const { type, at, start, end } of records) {
    const rank = order.indexOf(type);
    const offset = at;
    if (rank < last || (type === 'end' && (last === rank || reached !== diskSize))) {
      throw corrupt(file, { structure: undoRecord.name, offset, field: 'type', actual: type });
    }
    last = rank;
    if (type !== 'batch') continue;
    if (start !== reached || end < start || end > diskSize) {
      throw corrupt(file, { structure: undoRecord.name, offset, field: 'start', actual: start, expected: reached });
    }
    reached = end;
  }
}

async function readTables(
  file: BlockDevice,
  { diskSize }: Header,
  records: readonly FoundRecord[],
  signal: AbortSignal | undefined,
): Promise<{ given: RangeSet; givenDigest: Uint8Array; used: UsedDigest }> {
  const given = new RangeSetBuilder();
  const hash = createHash('sha256');
  const windows: number[] = [];
  const digests: Uint8Array[] = [];
  let givenEnd = 0n;
  for (const record of records) {
    if (record.type !== 'given' && record.type !== 'used') break;
    const view = await readEntries(file, record, signal);
    if (record.type === 'given') hash.update(bytesOf(view));
    for (let i = 0; i < record.count; i++) {
      if (record.type === 'given') {
        const { offset, length } = givenEntry.at(view, i * givenEntry.size);
        if (offset < givenEnd || length === 0n || offset + length > diskSize) {
          throw corrupt(file, { structure: givenEntry.name, offset: record.at, field: 'offset', actual: offset });
        }
        given.add(offset, length);
        givenEnd = offset + length;
      } else {
        const { window, digest } = usedEntry.at(view, i * usedEntry.size);
        if (window * BigInt(windowSize) >= diskSize || window <= BigInt(windows.at(-1) ?? -1)) {
          throw corrupt(file, { structure: usedEntry.name, offset: record.at, field: 'window', actual: window });
        }
        windows.push(toNumber(window));
        digests.push(digest);
      }
    }
  }
  return {
    given: given.finish(),
    givenDigest: hash.digest(),
    used: new UsedDigest(windows, Buffer.concat(digests)),
  };
}

async function* batches(
  file: BlockDevice,
  given: RangeSet,
  records: readonly FoundRecord[],
  signal: AbortSignal | undefined,
): AsyncGenerator<KeptBatch, void, undefined> {
  for (const record of records) {
    const { start, end } = record;
    const pieces: KeptPiece[] = [];
    let last = start;
    const view = await readEntries(file, record, signal);
    for (let i = 0; i < record.count; i++) {
      const { offset, length, digest } = pieceEntry.at(view, i * pieceEntry.size);
      const inside = given.run(offset, offset + length);
      const fits = offset >= last && length > 0n && length <= BigInt(mostPiece) && offset + length <= end;
      if (!fits || !inside.inside || inside.end !== offset + length) {
        throw corrupt(file, { structure: pieceEntry.name, offset: record.at, field: 'offset', actual: offset });
      }
      pieces.push({ offset, length, digest });
      last = offset + length;
    }
    yield { start, end, pieces };
  }
}

/** The entries of a record that was found whole. */
async function readEntries(
  file: BlockDevice,
  { type, at, count, entriesDigest }: FoundRecord,
  signal: AbortSignal | undefined,
): Promise<DataView> {
  const view = await readView(file, at + BigInt(undoRecord.size), count * entrySizeOf(type), { signal });
  if (Buffer.compare(await sha256(bytesOf(view)), entriesDigest) === 0) return view;
  throw corrupt(file, { structure: undoRecord.name, offset: at, field: 'entriesDigest' });
}

async function readPiece(
  file: BlockDevice,
  { offset, length, digest }: KeptPiece,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const at = undoDataOffset + offset;
  const bytes = bytesOf(await readView(file, at, toNumber(length), { signal }));
  if (Buffer.compare(await sha256(bytes), digest) === 0) return bytes;
  throw corrupt(file, { structure: 'undo piece', offset: at, field: 'digest' });
}

function corrupt(file: BlockDevice, place: Parameters<typeof DiskError.corrupt>[0]): DiskError {
  return DiskError.corrupt({ device: file.name, ...place });
}
