import { bit, flags } from '../../binary/bits.js';
import { layout, u8, u16, u32, u32s, u64 } from '../../binary/layout.js';

/**
 * The structures of the log of XFS: "XFS Algorithms & Data Structures: Journaling Log". Records and operations are
 * big-endian; what was logged is as the machine has it that wrote it.
 */

const book = (section: string) => `XFS Algorithms & Data Structures: ${section}`;

/** The first word of a record; all other blocks begin with the number of their cycle. */
export const recordMagic = 0xfeed_babe;
/** Blocks of 512 bytes whose first words a header keeps, and the bytes that one block of header stands for. */
export const cyclesPerHeader = 64;
export const headerSpan = 32_768;
/** Bytes: the largest record, and the records that may be in flight at once. */
export const largestRecord = 256 << 10;
export const recordsInFlight = 8;

export const logRecord = layout(
  'xlog_rec_header',
  { size: 328, endian: 'big', spec: book('Log Records') },
  {
    h_magicno: u32(0, 'magic', '0xFEEDBABE'),
    h_cycle: u32(4, 'cycle', 'times that the log was gone round'),
    h_version: u32(8, 'version', '1, or 2'),
    h_len: u32(12, 'bytes', 'that follow the header'),
    h_lsn: u64(16, 'log sequence number', 'of this record: its cycle, its block'),
    h_tail_lsn: u64(24, 'log sequence number', 'of the first record that is not written back'),
    h_prev_block: u32(36, 'block', 'of the record before'),
    h_num_logops: u32(40, 'operations', 'in the record'),
    h_cycle_data: u32s(44, cyclesPerHeader, 'words', 'that cycle numbers have taken the place of'),
    h_fmt: u32(300, 'enum', 'who wrote it'),
    h_size: u32(320, 'bytes', 'of the buffer that it was written from, in version 2'),
  },
);
/** Bytes from the start of a record to h_crc, which is little-endian. */
export const recordChecksum = 32;
/** Bytes of a record's header that its checksum is of: on most machines, and on those of 32 bits of x86. */
export const headerSizes = [logRecord.size, logRecord.size - 4] as const;
/** h_fmt. */
export const littleEndianLog = 1;

/** A further block of header, of records above 32 KiB. */
export const logRecordMore = layout(
  'xlog_rec_ext_header',
  { size: 260, endian: 'big', spec: book('Log Records') },
  {
    xh_cycle: u32(0, 'cycle', 'times that the log was gone round'),
    xh_cycle_data: u32s(4, cyclesPerHeader, 'words', 'that cycle numbers have taken the place of'),
  },
);

export const operationFlags = flags('oh_flags', {
  START: bit(0),
  COMMIT: bit(1),
  CONTINUE: bit(2),
  WAS_CONT: bit(3),
  END: bit(4),
  UNMOUNT: bit(5),
});
export const logOperation = layout(
  'xlog_op_header',
  { size: 12, endian: 'big', spec: book('Log Operations') },
  {
    oh_tid: u32(0, 'transaction', 'that it is part of'),
    oh_len: u32(4, 'bytes', 'that follow'),
    oh_clientid: u8(8, 'enum', 'who logged it'),
    oh_flags: u8(9, 'flags', 'of what'),
  },
);

/** What a transaction begins with. */
export const transactionMagic = 0x5452_414e;
export const transactionHeader = layout(
  'xfs_trans_header',
  { size: 16, endian: 'little', spec: book('Transaction Headers') },
  {
    th_magic: u32(0, 'magic', '"TRAN"'),
    th_type: u32(4, 'enum', 'of transaction'),
    th_num_items: u32(12, 'items or regions', 'in the transaction'),
  },
);

/** What the first region of an item begins with; of a buffer, which part of the disk it is. */
export const bufferItem = 0x123c;
export const bufferLog = layout(
  'xfs_buf_log_format',
  { size: 20, endian: 'little', spec: book('Buffer Log Item') },
  {
    blf_type: u16(0, 'enum', 'of item'),
    blf_size: u16(2, 'regions', 'of the item, this one too'),
    blf_flags: u16(4, 'flags', 'of the buffer'),
    blf_len: u16(6, 'basic blocks', 'of the buffer'),
    // 64 bits, of which no superblock needs the high ones: they are looked at as well.
    blf_blkno: u64(8, 'basic block', 'of the device where it lies'),
    blf_map_size: u32(16, 'words', 'of the map of what was logged'),
  },
);
