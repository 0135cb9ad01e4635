import { ascii, bytes, layout, u32, u64 } from '../../../binary/layout.js';

/**
 * The undo file of `sparsify --undo`: a sparse file in which every block that was given back, and was not all zeros, lies
 * at its own place, `dataOffset` further on than on the disk; and behind it a log of records that says what it holds.
 *
 * The log: all ranges that will be given back (`given`), then the digests of the bytes in use (`used`), each in as many
 * records as it takes; then a `batch` for each part of the disk, in order and without a gap; then `end`. A batch is written
 * and made durable, the data and the record, before anything of its part is given back: so of a file that was cut off at
 * any moment, a last record that is not whole speaks of nothing that was.
 *
 * All numbers are little-endian. All digests are SHA-256.
 */

const spec = 'disktool, sparsify --undo: the comment at the head of this file';

export const undoMagic = 'disktool undo';
export const undoVersion = 1;

/** Where the data begin, in bytes: before them lies the header. */
export const undoDataOffset = 1n << 20n;

export const undoHeader = layout(
  'undo file header',
  { size: 512, endian: 'little', spec },
  {
    magic: ascii(0, 16, 'text', 'disktool undo'),
    version: u32(16, 'number', '1'),
    windowSize: u32(20, 'bytes', 'how much of the disk has a digest of its own'),
    diskSize: u64(24, 'bytes', 'of the disk that the file belongs to'),
    dataOffset: u64(32, 'bytes', 'where the first byte of the disk would lie in the file'),
    logOffset: u64(40, 'bytes', 'where the first record lies in the file'),
    givenCount: u64(48, 'count', 'ranges that will be given back'),
    usedCount: u64(56, 'count', 'windows in which not all bytes in use are zeros'),
    givenDigest: bytes(64, 32, 'SHA-256', 'over all entries of the records `given`'),
    usedDigest: bytes(96, 32, 'SHA-256', 'over all entries of the records `used`'),
    id: bytes(128, 16, 'random', 'the same in each record of the file'),
    padding: bytes(144, 336, 'zeros', 'unused'),
    checksum: bytes(480, 32, 'SHA-256', 'of all of the header before it'),
  },
);

/** Bytes: each record starts at a multiple of it, so that they are found again behind a damaged one. */
export const recordUnit = 512;

export const undoRecordMagic = 'undo-rec';

export const undoRecord = layout(
  'undo record',
  { size: 128, endian: 'little', spec },
  {
    magic: ascii(0, 8, 'text', 'undo-rec'),
    type: u32(8, 'number', 'what its entries are: recordType'),
    count: u32(12, 'count', 'entries behind it'),
    sequence: u64(16, 'number', 'of the records of the file, from 0'),
    start: u64(24, 'bytes', 'of a batch: the first byte of its part of the disk'),
    end: u64(32, 'bytes', 'of a batch: where that part ends'),
    id: bytes(40, 16, 'random', 'that of the header'),
    entriesDigest: bytes(56, 32, 'SHA-256', 'of the entries'),
    padding: bytes(88, 8, 'zeros', 'unused'),
    checksum: bytes(96, 32, 'SHA-256', 'of all of the record before it'),
  },
);

export const recordType = { given: 1, used: 2, batch: 3, end: 4 } as const;
export type RecordType = keyof typeof recordType;

/** A range of the disk that will be given back. */
export const givenEntry = layout(
  'undo range',
  { size: 16, endian: 'little', spec },
  {
    offset: u64(0, 'bytes', 'from the start of the disk'),
    length: u64(8, 'bytes', 'of the range'),
  },
);

/** The bytes in use of a window of the disk. */
export const usedEntry = layout(
  'undo window',
  { size: 40, endian: 'little', spec },
  {
    window: u64(0, 'windows', 'from the start of the disk'),
    digest: bytes(8, 32, 'SHA-256', 'of its bytes in use, one after the other'),
  },
);

/** A piece of a batch that is kept; all else that is given back of its part of the disk was zeros. */
export const pieceEntry = layout(
  'undo piece',
  { size: 48, endian: 'little', spec },
  {
    offset: u64(0, 'bytes', 'from the start of the disk'),
    length: u64(8, 'bytes', 'of the piece'),
    digest: bytes(16, 32, 'SHA-256', 'of its bytes'),
  },
);

export const entryLayouts = { given: givenEntry, used: usedEntry, batch: pieceEntry } as const;

/** Entries of a record, at most. */
export const mostEntries = 1 << 16;
/** Bytes of a piece, at most. */
export const mostPiece = 1 << 20;
