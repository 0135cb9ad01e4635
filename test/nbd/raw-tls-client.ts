import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import { optionBytes, u32 } from './raw-client.js';

export const starttls: Buffer = optionBytes(5, Buffer.alloc(0));
/** Greeting of the server; an option's reply without data. */
const [greetingSize, ackSize] = [18, 20];

/** Takes exactly so many bytes, and leaves the rest in the socket. */
export async function readBytes(socket: Socket, size: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let length = 0; length < size; ) {
    const chunk: Buffer | null = socket.read();
    if (chunk !== null) {
      chunks.push(chunk);
      length += chunk.length;
    } else if (socket.readableEnded || socket.destroyed) throw new Error('the server hung up');
    else await somethingHappened(socket);
  }
  const all = Buffer.concat(chunks);
  if (all.length > size) socket.unshift(all.subarray(size));
  return all.subarray(0, size);
}

function somethingHappened(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const events = ['readable', 'end', 'close'];
    const listener = () => {
      for (const event of events) socket.off(event, listener);
      resolve();
    };
    for (const event of events) socket.on(event, listener);
  });
}

/** All that comes until the server hangs up. */
export async function readToEnd(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).resume();
  if (!socket.readableEnded && !socket.destroyed) {
    await new Promise<void>((resolve) => socket.once('end', resolve).once('close', () => resolve()));
  }
  return Buffer.concat(chunks);
}

/** Connects in the clear; the socket is gone when the test ends. */
export async function connectPlain(path: string): Promise<Socket> {
  const socket = connect({ path, allowHalfOpen: true });
  socket.on('error', () => {});
  onTestFinished(() => {
    socket.destroy();
  });
  await once(socket, 'connect');
  return socket;
}

/** A client that was let go on under TLS, and has not begun with it. */
export async function acknowledged(path: string): Promise<Socket> {
  const socket = await connectPlain(path);
  await readBytes(socket, greetingSize);
  socket.write(Buffer.concat([u32(3), starttls]));
  const reply = await readBytes(socket, ackSize);
  if (reply.readUInt32BE(12) !== 1) throw new Error('STARTTLS was refused');
  return socket;
}

/** A client under TLS that never looks at who the server is. */
export async function connectSecure(path: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return secureOver(await acknowledged(path), options);
}

export async function secureOver(socket: Socket, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const secure = connectTls({ socket, rejectUnauthorized: false, ...options });
  onTestFinished(() => {
    secure.destroy();
  });
  await once(secure, 'secureConnect');
  secure.on('error', () => {});
  return secure;
}
