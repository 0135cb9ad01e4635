import { zeros } from '../binary/zeros.js';
import { DiskError } from '../error/disk-error.js';
import { readNow, writeNow } from '../host/positioned.js';

/**
 * What the first bytes of a file must not become: a guest that could write the header of another format to its raw disk
 * would have that format's files opened in its place by whoever looks for the format next (CVE-2010-3851). Plain data, and
 * one lock, for all threads that write to the file.
 */
export interface HeadGuard {
  readonly signatures: readonly HeadSignature[];
  readonly lock: Int32Array<SharedArrayBuffer>;
}

/** What a format is known by, as QEMU names it. */
export type HeadSignature =
  | {
      readonly format: string;
      /** Bytes from the start of the file; all of it lies below {@link headSize}. */
      readonly offset: number;
      readonly magic: Uint8Array;
    }
  | {
      readonly format: string;
      /** Of the whole head, one character a byte. */
      readonly text: RegExp;
    };

/** Bytes: QEMU looks at as many. */
export const headSize = 512;

/** Milliseconds: a check and a write of that many bytes take far less, unless who has the lock has died. */
const longestWait = 10_000;

export function headGuard(signatures: readonly HeadSignature[]): HeadGuard {
  return { signatures, lock: new Int32Array(new SharedArrayBuffer(4)) };
}

/**
 * Writes on this thread what of a request lies in the head, if the head stays what it is: none can come between the look
 * and the write.
 *
 * @returns bytes written; the rest of the request lies behind the head
 * @throws {DiskError} UNSAFE (EPERM, `reason`: `image-head`) when it would look like another format
 */
export function writeHead(
  fd: number,
  { signatures, lock }: HeadGuard,
  from: Uint8Array,
  offset: number,
  name: string,
): number {
  const part = from.subarray(0, headSize - offset);
  return locked(lock, name, () => {
    const head = new Uint8Array(headSize);
    // Of a shorter file, the rest is zeros. It waits for a cold disk.
    readNow(fd, head, 0n, true);
    head.set(part, offset);
    const found = signatures.find((signature) => matches(head, signature));
    if (found !== undefined) throw refusal(found.format, offset, name);
    writeNow(fd, part, BigInt(offset), name);
    return part.length;
  });
}

function matches(head: Uint8Array, signature: HeadSignature): boolean {
  if ('text' in signature) return signature.text.test(Buffer.from(head).toString('latin1'));
  return signature.magic.every((byte, i) => head[signature.offset + i] === byte);
}

/** The same with zeros. */
export function zeroHead(fd: number, guard: HeadGuard, offset: number, length: bigint, name: string): number {
  const most = headSize - offset;
  return writeHead(fd, guard, zeros.subarray(0, length < BigInt(most) ? Number(length) : most), offset, name);
}

function locked<Result>(lock: Int32Array<SharedArrayBuffer>, name: string, work: () => Result): Result {
  while (Atomics.compareExchange(lock, 0, 0, 1) !== 0) {
    if (Atomics.wait(lock, 0, 1, longestWait) === 'timed-out') {
      throw new DiskError('IO', `${name}: a write to its first ${headSize} bytes has not ended`, { errno: 'EIO' });
    }
  }
  try {
    return work();
  } finally {
    Atomics.store(lock, 0, 0);
    Atomics.notify(lock, 0, 1);
  }
}

function refusal(format: string, offset: number, name: string): DiskError {
  const message = `write at byte ${offset} of ${name}: would make this raw image look like a ${format} image: if that is meant, say --format raw`;
  return new DiskError('UNSAFE', message, {
    device: name,
    offset: BigInt(offset),
    errno: 'EPERM',
    reason: 'image-head',
  });
}
