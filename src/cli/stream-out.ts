import { errnoOf } from '../host/errno.js';
import type { Output } from '../task/output/output.js';
import { StreamOutput } from '../task/output/stream-output.js';

/** Bytes or characters: what is written at a time. */
const chunkSize = 64 << 10;

/**
 * Writes a result piece by piece, no faster than it is taken, and ends the output. That nobody reads a pipe to the end is
 * no error, and the end of the pieces.
 *
 * @param to standard output unless given
 * @throws {DiskError} IO; CANCELLED; and what the pieces throw: then of a file nothing is left
 */
export async function streamOut(
  pieces: AsyncIterable<string | Buffer>,
  signal: AbortSignal,
  to?: Output | undefined,
): Promise<void> {
  const output = to ?? (await StreamOutput.standard(signal));
  try {
    await writeAll(pieces, output);
  } catch (error) {
    await output.discard();
    throw error;
  }
  await output.finish();
}

async function writeAll(pieces: AsyncIterable<string | Buffer>, output: Output): Promise<void> {
  let waiting: Buffer[] = [];
  let length = 0;
  let offset = 0n;
  for await (const piece of pieces) {
    const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
    waiting.push(bytes);
    length += bytes.length;
    if (length < chunkSize) continue;
    const chunk = Buffer.concat(waiting);
    [waiting, length] = [[], 0];
    if (!(await isRead(output, chunk, offset))) return;
    offset += BigInt(chunk.length);
  }
  await isRead(output, Buffer.concat(waiting), offset);
}

async function isRead(output: Output, chunk: Buffer, offset: bigint): Promise<boolean> {
  try {
    await output.write(chunk, offset);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EPIPE') return false;
    throw error;
  }
}
