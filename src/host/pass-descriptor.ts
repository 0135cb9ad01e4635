import { viewOf } from '../binary/layout.js';
import { controlMessage, ioVector, messageHeader } from './abi.js';
import { addressOf, call } from './libc.js';

/** asm-generic/socket.h. */
const SOL_SOCKET = 1;
/** linux/socket.h. */
const SCM_RIGHTS = 1;
const MSG_NOSIGNAL = 0x4000;

/** Bytes of a control message of one descriptor, without the padding that follows: CMSG_LEN(sizeof(int)). */
const messageLength = 20n;

/**
 * Sends bytes on a unix socket, and a descriptor with them, which the other side then has too: unix(7), SCM_RIGHTS.
 *
 * @param socket whose queue has room for so few bytes
 * @throws {DiskError} IO
 */
export function sendWithDescriptor(socket: number, bytes: Uint8Array, descriptor: number): void {
  const vector = new Uint8Array(ioVector.size);
  ioVector.put(viewOf(vector), { iov_base: addressOf(bytes), iov_len: BigInt(bytes.length) });
  const control = new Uint8Array(controlMessage.size);
  controlMessage.put(viewOf(control), {
    cmsg_len: messageLength,
    cmsg_level: SOL_SOCKET,
    cmsg_type: SCM_RIGHTS,
    descriptor,
  });
  const header = new Uint8Array(messageHeader.size);
  messageHeader.put(viewOf(header), {
    msg_iov: addressOf(vector),
    msg_iovlen: 1n,
    msg_control: addressOf(control),
    msg_controllen: BigInt(control.length),
  });
  call('sendmsg', 'of a descriptor', socket, header, MSG_NOSIGNAL);
}
