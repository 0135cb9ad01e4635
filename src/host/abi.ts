import { endianness } from 'node:os';
import { bytes, i32, i64, layout, u16, u32, u64 } from '../binary/layout.js';

/** Structures that are passed to the kernel, as every 64-bit Linux lays them out. */
export const endian = endianness() === 'LE' ? 'little' : 'big';

/** A range of bytes that is locked, or to be locked. */
export const flockRange = layout(
  'flock',
  { size: 32, endian, spec: 'fcntl(2), "Advisory record locking"; asm-generic/fcntl.h, struct flock' },
  {
    l_type: u16(0, '', 'F_RDLCK, F_WRLCK or F_UNLCK'),
    l_whence: u16(2, '', 'what l_start counts from: 0, the start of the file'),
    l_start: i64(8, 'bytes', 'first byte'),
    l_len: i64(16, 'bytes', '0: to the end, however far the file grows'),
    l_pid: i32(24, '', '0 for locks of open file descriptions; -1 as the answer when such a lock is in the way'),
  },
);

/** What a loop device is attached to. The names that follow are text for people, and are left out. */
export const loopInfo = layout(
  'loop_info64',
  { size: 232, endian, spec: 'loop(4); linux/loop.h, struct loop_info64' },
  {
    lo_device: u64(0, '', 'device number of the file system that holds the file, as the kernel encodes it for users'),
    lo_inode: u64(8, '', 'inode number of the file'),
    lo_rdevice: u64(16, '', 'device number of the file itself, when it is a device'),
    lo_offset: u64(24, 'bytes', 'where the device starts in the file'),
    lo_sizelimit: u64(32, 'bytes', '0: to the end of the file'),
    lo_number: u32(40, '', 'number of the loop device'),
    lo_encrypt_type: u32(44, '', 'not used any more'),
    lo_encrypt_key_size: u32(48, 'bytes', 'not used any more'),
    lo_flags: u32(52, '', 'bit 0: read-only'),
  },
);

/** linux/loop.h, LO_FLAGS_READ_ONLY. */
export const LO_FLAGS_READ_ONLY = 1;

/** The address of a unix socket. */
export const unixAddress = layout(
  'sockaddr_un',
  { size: 110, endian, spec: 'unix(7), "Address format"' },
  {
    sun_family: u16(0, '', 'AF_UNIX'),
    sun_path: bytes(2, 108, 'text', 'the path, with a NUL behind it'),
  },
);

/** What epoll watches a descriptor for, and what it tells of it. On x86-64 alone the structure is packed. */
const packed = process.arch === 'x64';
export const epollEvent = layout(
  'epoll_event',
  { size: packed ? 12 : 16, endian, spec: 'epoll_ctl(2); linux/eventpoll.h, struct epoll_event' },
  { events: u32(0, '', 'EPOLLIN and so on'), data: u64(packed ? 4 : 8, '', 'whatever was given with the descriptor') },
);

/** Bytes that are to be sent. */
export const ioVector = layout(
  'iovec',
  { size: 16, endian, spec: 'readv(2)' },
  { iov_base: u64(0, '', 'address of the bytes'), iov_len: u64(8, 'bytes', 'how many') },
);

/** What is sent by sendmsg. */
export const messageHeader = layout(
  'msghdr',
  { size: 56, endian, spec: 'sendmsg(2)' },
  {
    msg_name: u64(0, '', 'address of the address: none on a connected socket'),
    msg_namelen: u32(8, 'bytes', 'length of that'),
    msg_iov: u64(16, '', 'address of the iovecs'),
    msg_iovlen: u64(24, '', 'how many'),
    msg_control: u64(32, '', 'address of the control messages'),
    msg_controllen: u64(40, 'bytes', 'length of those, with padding'),
    msg_flags: i32(48, '', 'ignored'),
  },
);

/** A control message of one descriptor, with the padding behind it. */
export const controlMessage = layout(
  'cmsghdr',
  { size: 24, endian, spec: 'cmsg(3), unix(7), "Ancillary messages"' },
  {
    cmsg_len: u64(0, 'bytes', 'with this header, without padding'),
    cmsg_level: i32(8, '', 'SOL_SOCKET'),
    cmsg_type: i32(12, '', 'SCM_RIGHTS'),
    descriptor: i32(16, '', 'the descriptor'),
  },
);

/** What is known of a file: no more of it than is used here. */
export const statx = layout(
  'statx',
  { size: 256, endian, spec: 'statx(2); linux/stat.h, struct statx' },
  {
    stx_mode: u16(28, '', 'type and permissions, as st_mode'),
    stx_ino: u64(32, '', 'inode number'),
    stx_rdev_major: u32(128, '', 'of the device that the file is'),
    stx_rdev_minor: u32(132, '', 'of the device that the file is'),
    stx_dev_major: u32(136, '', 'of the file system that holds the file'),
    stx_dev_minor: u32(140, '', 'of the file system that holds the file'),
  },
);
