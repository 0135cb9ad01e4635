import { errnoOf } from '../host/errno.js';
import { StreamOutput } from '../task/output/stream-output.js';

/** Bytes or characters: what is written at a time. */
const chunkSize = 64 << 10;

/**
 * Writes a result to standard output piece by piece, no faster than it is read. That nobody reads to the end is no error,
 * and the end of the pieces.
 *
 * @throws {DiskError} IO; CANCELLED; and what the pieces throw
 */
export async function streamOut(pieces: AsyncIterable<string | Buffer>, signal: AbortSignal): Promise<void> {
  const output = await StreamOutput.standard(signal);
  try {
    let waiting: Buffer[] = [];
    let length = 0;
    for await (const piece of pieces) {
      const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
      waiting.push(bytes);
      length += bytes.length;
      if (length < chunkSize) continue;
      const chunk = Buffer.concat(waiting);
      [waiting, length] = [[], 0];
      if (!(await isRead(output, chunk))) return;
    }
    await isRead(output, Buffer.concat(waiting));
  } finally {
    await output.finish();
  }
}

async function isRead(output: StreamOutput, chunk: Buffer): Promise<boolean> {
  try {
    await output.write(chunk);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EPIPE') return false;
    throw error;
  }
}
