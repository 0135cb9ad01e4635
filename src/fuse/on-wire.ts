import { endianness } from 'node:os';
import { bit, flags } from '../binary/bits.js';
import { i32, layout, u16, u32, u64 } from '../binary/layout.js';

/**
 * Every structure and constant of the FUSE kernel protocol that the server uses, in the machine's own byte order. The
 * document is include/uapi/linux/fuse.h of Linux.
 */

const wire = (size: number, struct: string) =>
  ({ size, endian: endianness() === 'LE' ? 'little' : 'big', spec: `linux/fuse.h, struct ${struct}` }) as const;

export const version = {
  major: 7,
  /** What we know of the protocol: FUSE_DIRECT_IO_ALLOW_MMAP came with it. */
  minor: 39,
  /** Linux 5.2: before it a request has no more than 32 pages. */
  oldestMinor: 31,
} as const;

/** The node that the mount point is. */
export const rootId = 1n;

export const opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  INIT: 26,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  LSEEK: 46,
} as const;

/** Requests that would change which files there are. */
export const changingOpcode = {
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  CREATE: 35,
  RENAME2: 45,
  TMPFILE: 51,
} as const;

export const initFlags = flags('fuse_init flags', {
  ASYNC_READ: bit(0),
  BIG_WRITES: bit(5),
  ASYNC_DIO: bit(15),
  PARALLEL_DIROPS: bit(18),
  ABORT_ERROR: bit(21),
  MAX_PAGES: bit(22),
  NO_OPENDIR_SUPPORT: bit(24),
  INIT_EXT: bit(30),
});

/** Bits 32 and up of the flags, which Linux 5.17 has and older kernels do not. */
export const initFlags2 = flags('fuse_init flags2', { DIRECT_IO_ALLOW_MMAP: bit(36 - 32) });

export const openFlags = flags('fuse_open_out open_flags', {
  DIRECT_IO: bit(0),
  NOFLUSH: bit(5),
  PARALLEL_DIRECT_WRITES: bit(6),
});

/** What a SETATTR is to set. */
export const attributeFlags = flags('fuse_setattr_in valid', {
  MODE: bit(0),
  UID: bit(1),
  GID: bit(2),
  SIZE: bit(3),
  ATIME: bit(4),
  MTIME: bit(5),
  FH: bit(6),
  ATIME_NOW: bit(7),
  MTIME_NOW: bit(8),
  LOCKOWNER: bit(9),
  CTIME: bit(10),
  KILL_SUIDGID: bit(11),
});

export const requestHeader = layout('fuse_in_header', wire(40, 'fuse_in_header'), {
  len: u32(0, 'bytes', 'of the request with this header'),
  opcode: u32(4, '', 'what is asked'),
  unique: u64(8, '', 'says which request a reply belongs to'),
  nodeid: u64(16, '', 'what it is asked of'),
  uid: u32(24, '', 'of who asks'),
  gid: u32(28, '', 'of who asks'),
  pid: u32(32, '', 'of who asks'),
  total_extlen: u16(36, '8 bytes', 'of extensions at the end of the request'),
});

export const replyHeader = layout('fuse_out_header', wire(16, 'fuse_out_header'), {
  len: u32(0, 'bytes', 'of the reply with this header'),
  error: i32(4, '', '0, or minus an errno'),
  unique: u64(8, '', 'of the request'),
});

/** Older kernels send its first 16 bytes. */
export const initRequest = layout('fuse_init_in', wire(64, 'fuse_init_in'), {
  major: u32(0, '', 'of the protocol that the kernel speaks'),
  minor: u32(4, '', 'likewise'),
  max_readahead: u32(8, 'bytes', 'the most that it reads ahead'),
  flags: u32(12, '', 'what it can do'),
  flags2: u32(16, '', 'bits 32 and up of the flags, with INIT_EXT'),
});
export const oldInitRequestSize = 16;

export const initReply = layout('fuse_init_out', wire(64, 'fuse_init_out'), {
  major: u32(0, '', 'of the protocol that we speak'),
  minor: u32(4, '', 'likewise'),
  max_readahead: u32(8, 'bytes', 'as the kernel said'),
  flags: u32(12, '', 'what is to be done, of what the kernel can do'),
  max_background: u16(16, '', 'requests that nobody waits for, at most'),
  congestion_threshold: u16(18, '', 'of those, from when on there are many'),
  max_write: u32(20, 'bytes', 'of data in one write'),
  time_gran: u32(24, 'ns', 'what times are exact to'),
  max_pages: u16(28, 'pages', 'of data in one request'),
  map_alignment: u16(30, '', 'not used'),
  flags2: u32(32, '', 'bits 32 and up of the flags'),
});

export const attributes = layout('fuse_attr', wire(88, 'fuse_attr'), {
  ino: u64(0, '', 'inode number'),
  size: u64(8, 'bytes', 'of the file'),
  blocks: u64(16, '512 bytes', 'that it takes'),
  atime: u64(24, 's', ''),
  mtime: u64(32, 's', ''),
  ctime: u64(40, 's', ''),
  atimensec: u32(48, 'ns', ''),
  mtimensec: u32(52, 'ns', ''),
  ctimensec: u32(56, 'ns', ''),
  mode: u32(60, '', 'type and permissions'),
  nlink: u32(64, '', 'names'),
  uid: u32(68, '', ''),
  gid: u32(72, '', ''),
  rdev: u32(76, '', 'of a device'),
  blksize: u32(80, 'bytes', 'what is best read at once'),
  flags: u32(84, '', 'not used'),
});

/** Followed by {@link attributes}. */
export const attributesReply = layout('fuse_attr_out', wire(16, 'fuse_attr_out'), {
  attr_valid: u64(0, 's', 'how long the kernel may believe them'),
  attr_valid_nsec: u32(8, 'ns', 'likewise'),
});

/** Followed by {@link attributes}. */
export const entryReply = layout('fuse_entry_out', wire(40, 'fuse_entry_out'), {
  nodeid: u64(0, '', 'what has the name'),
  generation: u64(8, '', 'tells apart what had the number at different times'),
  entry_valid: u64(16, 's', 'how long the kernel may believe the name'),
  attr_valid: u64(24, 's', 'and the attributes'),
  entry_valid_nsec: u32(32, 'ns', ''),
  attr_valid_nsec: u32(36, 'ns', ''),
});

export const setAttributesRequest = layout('fuse_setattr_in', wire(88, 'fuse_setattr_in'), {
  valid: u32(0, '', 'which of the fields count'),
  fh: u64(8, '', 'of the open file'),
  size: u64(16, 'bytes', 'what the file is to be cut or grown to'),
});

export const openReply = layout('fuse_open_out', wire(16, 'fuse_open_out'), {
  fh: u64(0, '', 'whatever we want to hear again'),
  open_flags: u32(8, '', 'how the kernel is to treat it'),
});

export const readRequest = layout('fuse_read_in', wire(40, 'fuse_read_in'), {
  fh: u64(0, '', 'of the open file'),
  offset: u64(8, 'bytes', 'in a file; in a directory, as we numbered its entries'),
  size: u32(16, 'bytes', 'wanted'),
  read_flags: u32(20, '', ''),
  lock_owner: u64(24, '', ''),
  flags: u32(32, '', 'that the file was opened with'),
});

/** Followed by the data. */
export const writeRequest = layout('fuse_write_in', wire(40, 'fuse_write_in'), {
  fh: u64(0, '', 'of the open file'),
  offset: u64(8, 'bytes', ''),
  size: u32(16, 'bytes', 'of data'),
  write_flags: u32(20, '', ''),
  lock_owner: u64(24, '', ''),
  flags: u32(32, '', 'that the file was opened with'),
});

export const writeReply = layout('fuse_write_out', wire(8, 'fuse_write_out'), {
  size: u32(0, 'bytes', 'written'),
});

export const statfsReply = layout('fuse_statfs_out', wire(80, 'fuse_kstatfs'), {
  blocks: u64(0, 'frsize', 'in all'),
  bfree: u64(8, 'frsize', 'free'),
  bavail: u64(16, 'frsize', 'free for all'),
  files: u64(24, '', 'in all'),
  ffree: u64(32, '', 'free'),
  bsize: u32(40, 'bytes', 'what is best read at once'),
  namelen: u32(44, 'bytes', 'of the longest name'),
  frsize: u32(48, 'bytes', 'what blocks are counted in'),
});

export const interruptRequest = layout('fuse_interrupt_in', wire(8, 'fuse_interrupt_in'), {
  unique: u64(0, '', 'of the request that is not waited for any more'),
});

export const fallocateRequest = layout('fuse_fallocate_in', wire(32, 'fuse_fallocate_in'), {
  fh: u64(0, '', 'of the open file'),
  offset: u64(8, 'bytes', ''),
  length: u64(16, 'bytes', ''),
  mode: u32(24, '', 'FALLOC_FL_…'),
});

export const seekRequest = layout('fuse_lseek_in', wire(24, 'fuse_lseek_in'), {
  fh: u64(0, '', 'of the open file'),
  offset: u64(8, 'bytes', ''),
  whence: u32(16, '', 'SEEK_DATA or SEEK_HOLE'),
});

export const seekReply = layout('fuse_lseek_out', wire(8, 'fuse_lseek_out'), {
  offset: u64(0, 'bytes', 'where that begins'),
});

/** Followed by the name, filled up to a multiple of 8 bytes. */
export const directoryEntry = layout('fuse_dirent', wire(24, 'fuse_dirent'), {
  ino: u64(0, '', 'inode number'),
  off: u64(8, '', 'where the next entry is asked for'),
  namelen: u32(16, 'bytes', 'of the name'),
  type: u32(20, '', 'DT_REG or DT_DIR'),
});

/** Bytes: the kernel gives nothing to a smaller buffer. */
export const smallestBuffer = 8192;

/** linux/falloc.h. */
export const fallocateFlags = flags('fallocate mode', {
  KEEP_SIZE: bit(0),
  PUNCH_HOLE: bit(1),
  COLLAPSE_RANGE: bit(3),
  ZERO_RANGE: bit(4),
  INSERT_RANGE: bit(5),
  UNSHARE_RANGE: bit(6),
});

/** linux/fs.h: whence of lseek. */
export const seekData = 3;
export const seekHole = 4;

/** sys/stat.h and dirent.h. */
export const S_IFREG = 0o100000;
export const S_IFDIR = 0o040000;
export const DT_DIR = 4;
export const DT_REG = 8;
