import { viewOf } from '../binary/layout.js';
import { DiskError } from '../error/disk-error.js';
import { EINVAL } from './failure.js';
import {
  initFlags,
  initFlags2,
  initReply,
  initRequest,
  oldInitRequestSize,
  opcode,
  requestHeader,
  version,
} from './on-wire.js';
import { maximumData, type RequestBuffer } from './request-buffer.js';

/** What we ask of a kernel that can do it. */
const wanted = [
  'ASYNC_READ',
  'BIG_WRITES',
  'ASYNC_DIO',
  'PARALLEL_DIROPS',
  'MAX_PAGES',
  'NO_OPENDIR_SUPPORT',
  'INIT_EXT',
] as const;

/** Requests that nobody waits for (parts of a large read, and read-ahead) at the same time. */
const mostInBackground = 64;

/** Bytes: the least that a page has. */
const smallestPage = 4096;

/**
 * Answers the kernel's first request.
 *
 * @returns false when that has to be read once more: a kernel of a later major version asks again in our words
 * @throws {DiskError} UNSUPPORTED when the kernel is too old; PROTOCOL
 */
export function answerInit(buffer: RequestBuffer, fd: number): boolean {
  const header = requestHeader.at(buffer.view);
  const { unique } = header;
  if (header.opcode !== opcode.INIT) {
    throw new DiskError('PROTOCOL', `/dev/fuse: the first request is ${header.opcode}, expected INIT`);
  }
  // Older kernels send less; what is not there is zeros.
  const told = new Uint8Array(initRequest.size);
  const length = Math.min(Math.max(header.len - requestHeader.size, oldInitRequestSize), initRequest.size);
  told.set(buffer.request.subarray(requestHeader.size, requestHeader.size + length));
  const { major, minor, max_readahead, flags, flags2 } = initRequest.values(viewOf(told));
  const content = viewOf(buffer.content);
  buffer.content.fill(0, 0, initReply.size);
  if (major > version.major) {
    initReply.put(content, { major: version.major, minor: version.minor });
    buffer.reply(fd, unique, initReply.size);
    return false;
  }
  if (major < version.major || minor < version.oldestMinor) {
    buffer.refuse(fd, unique, EINVAL);
    throw new DiskError(
      'UNSUPPORTED',
      `the kernel speaks FUSE ${major}.${minor}, and ${version.major}.${version.oldestMinor} is needed: Linux 5.2 or later`,
    );
  }
  const accepted = wanted.reduce((all, name) => all | initFlags.mask[name], 0) & flags;
  initReply.put(content, {
    major: version.major,
    minor: Math.min(minor, version.minor),
    max_readahead,
    flags: accepted >>> 0,
    max_background: mostInBackground,
    congestion_threshold: (mostInBackground * 3) / 4,
    max_write: maximumData,
    time_gran: 1,
    max_pages: maximumData / smallestPage,
    flags2: initFlags.has(flags, 'INIT_EXT') ? flags2 & initFlags2.mask.DIRECT_IO_ALLOW_MMAP : 0,
  });
  buffer.reply(fd, unique, initReply.size);
  return true;
}
