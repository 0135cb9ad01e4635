import { bytesOf } from '../binary/layout.js';
import { DiskError } from '../error/disk-error.js';
import { controlMessage, messageHeader } from './abi.js';
import { addressOf, call } from './libc.js';

const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

/**
 * Receives a descriptor that another process has sent on a unix socket: unix(7), SCM_RIGHTS.
 *
 * @throws {DiskError} IO when none has come
 */
export function receiveDescriptor(socket: number, what: string): number {
  const header = new DataView(new ArrayBuffer(messageHeader.size));
  const control = new DataView(new ArrayBuffer(controlMessage.size));
  const text = new Uint8Array(64);
  const vector = BigUint64Array.of(addressOf(text), BigInt(text.length));
  messageHeader.put(header, {
    msg_iov: addressOf(new Uint8Array(vector.buffer)),
    msg_iovlen: 1n,
    msg_control: addressOf(bytesOf(control)),
    msg_controllen: BigInt(controlMessage.size),
  });
  call('recvmsg', what, socket, bytesOf(header), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  const { cmsg_level, cmsg_type, cmsg_len, descriptor } = controlMessage.at(control);
  if (cmsg_level !== SOL_SOCKET || cmsg_type !== SCM_RIGHTS || cmsg_len < 20n) {
    throw new DiskError('IO', `no descriptor came ${what}`, { errno: 'EIO' });
  }
  return descriptor;
}
