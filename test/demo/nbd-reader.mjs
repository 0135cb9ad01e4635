// The shortest NBD client that reads a whole export: for a machine that has none. The protocol is NBD's proto.md.
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { connect } from 'node:net';

const chunk = 1 << 20;

/** Reads the default export behind a unix socket into a file. */
export async function readExport(socketPath, output) {
  const socket = connect(socketPath);
  await once(socket, 'connect');
  const take = reader(socket);
  await take(16); // NBDMAGIC, IHAVEOPT
  const fixedNewstyleNoZeroes = (await take(2)).readUInt16BE() & 3;
  const hello = Buffer.alloc(4 + 16);
  hello.writeUInt32BE(fixedNewstyleNoZeroes, 0);
  hello.write('IHAVEOPT', 4, 'latin1');
  hello.writeUInt32BE(1, 12); // NBD_OPT_EXPORT_NAME, of no length: the default export
  socket.write(hello);
  const size = (await take(8)).readBigUInt64BE();
  await take(2 + (fixedNewstyleNoZeroes & 2 ? 0 : 124));
  const file = await open(output, 'w');
  try {
    for (let at = 0n; at < size; at += BigInt(chunk)) {
      const length = Number(size - at < BigInt(chunk) ? size - at : BigInt(chunk));
      const request = Buffer.alloc(28);
      request.writeUInt32BE(0x25609513, 0);
      request.writeBigUInt64BE(at, 8); // the cookie
      request.writeBigUInt64BE(at, 16);
      request.writeUInt32BE(length, 24);
      socket.write(request);
      const reply = await take(16);
      if (reply.readUInt32BE(4) !== 0) throw new Error(`NBD error ${reply.readUInt32BE(4)} at ${at}`);
      await file.write(await take(length), 0, length, Number(at));
    }
  } finally {
    await file.close();
    socket.destroy();
  }
}

/** A function that resolves with exactly so many bytes of what comes. */
function reader(socket) {
  const incoming = socket[Symbol.asyncIterator]();
  let buffered = Buffer.alloc(0);
  return async (length) => {
    while (buffered.length < length) {
      const { value, done } = await incoming.next();
      if (done) throw new Error('the server hung up');
      buffered = Buffer.concat([buffered, value]);
    }
    const taken = buffered.subarray(0, length);
    buffered = buffered.subarray(length);
    return taken;
  };
}
