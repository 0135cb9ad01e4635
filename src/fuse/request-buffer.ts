import { viewOf } from '../binary/layout.js';
import { alignedBuffer } from '../host/aligned-buffer.js';
import { errnoName, systemError } from '../host/errno.js';
import { tryCall } from '../host/libc.js';
import { EINVAL, EIO } from './failure.js';
import { replyHeader, requestHeader, writeRequest } from './on-wire.js';

/** Bytes: the most that one read or write moves; more than a page at a time needs Linux 4.20. */
export const maximumData = 1 << 20;

/** Bytes before the data of a write, and before that of a reply to a read. */
const requestRoom = requestHeader.size + writeRequest.size;
const replyRoom = replyHeader.size;
const pageSize = 4096;

/** What became of an attempt to read a request: bytes of it, nothing there, or the filesystem is unmounted. */
export type Taken = number | 'nothing' | 'unmounted';

/** Room for one request, and for its reply when all that is needed of the request has been read. */
export class RequestBuffer {
  // Data begins at a page, whichever way it goes.
  readonly #memory = alignedBuffer(pageSize + maximumData);
  readonly request = this.#memory.subarray(pageSize - requestRoom);
  readonly #reply = this.#memory.subarray(pageSize - replyRoom);
  readonly #replyView = viewOf(this.#reply);
  readonly view = viewOf(this.request);
  /** What lies behind the header of the request. */
  readonly body = viewOf(this.request.subarray(requestHeader.size));
  /** The data of a write, and where the content of a reply goes. */
  readonly content = this.#memory.subarray(pageSize);
  readonly contentView = viewOf(this.content);

  /** Takes the next request of a descriptor that does not wait. */
  take(fd: number): Taken {
    const got = Number(tryCall('read', fd, this.request, this.request.length));
    if (got >= 0) return got;
    switch (errnoName(-got)) {
      case 'ENODEV':
      case 'ECONNABORTED':
        return 'unmounted';
      // Interrupted before it was read: whoever asked has gone.
      case 'ENOENT':
      case 'EINTR':
      case 'EAGAIN':
        return 'nothing';
      default:
        throw systemError('read of /dev/fuse', errnoName(-got));
    }
  }

  /** Replies to a request with the first bytes of `content`. That nobody waits for it any more is no failure. */
  reply(fd: number, unique: bigint, length: number): void {
    // Who gets a reply that the kernel does not take would wait for ever.
    if (!this.#send(fd, unique, 0, length)) this.refuse(fd, unique, EIO);
  }

  /** @param errno above 0 */
  refuse(fd: number, unique: bigint, errno: number): void {
    this.#send(fd, unique, errno, 0);
  }

  /** Returns false when the kernel does not take such a reply. */
  #send(fd: number, unique: bigint, errno: number, length: number): boolean {
    const len = replyHeader.size + length;
    replyHeader.put(this.#replyView, { len, error: -errno, unique });
    return Number(tryCall('write', fd, this.#reply, len)) !== -EINVAL;
  }
}
