import { constants, createReadStream, open } from 'node:fs';
import { Socket } from 'node:net';
import { addAbortSignal, type Readable } from 'node:stream';
import { promisify } from 'node:util';
import { DiskError } from '../error/disk-error.js';
import { wrapSystemError } from './errno.js';
import { closeFile, findFile, reopen } from './open-file.js';

const openFd = promisify(open);

/** Characters: far more than a line that anybody reads has. What is longer is no text. */
const longestLine = 4096;

/** A line of a text file, without its end. */
export interface Line {
  /** The first is 1. */
  readonly number: number;
  readonly text: string;
}

/**
 * Reads the lines of a text file, a pipe, or with `-` of standard input, as they come.
 *
 * @throws {DiskError} NOT_FOUND, USAGE for a folder, CORRUPT when it is no text, IO, CANCELLED
 */
export async function* readLines(path: string, signal?: AbortSignal): AsyncGenerator<Line, void, undefined> {
  const stream = (path === '-' ? process.stdin : await openStream(path)).setEncoding('utf8');
  if (signal !== undefined) addAbortSignal(signal, stream);
  const what = path === '-' ? 'standard input' : path;
  let [number, rest] = [0, ''];
  try {
    for await (const chunk of stream) {
      const lines = `${rest}${chunk}`.split('\n');
      rest = lines.pop() ?? '';
      for (const text of lines) yield { number: ++number, text };
      if (rest.length > longestLine) {
        const words = `${what}, line ${number + 1}: has more than ${longestLine} characters: it is no text file`;
        throw new DiskError('CORRUPT', words, { device: what });
      }
    }
  } catch (error) {
    if (signal?.aborted === true) throw DiskError.cancelled(signal);
    throw error instanceof DiskError ? error : wrapSystemError(`read ${what}`, error, { device: what });
  }
  if (rest !== '') yield { number: number + 1, text: rest };
}

/**
 * Opens a file or a pipe to be read to its end. A signal that is added to the stream ends it even while nobody writes to
 * the pipe.
 *
 * @param highWaterMark bytes of a file that are read at a time
 * @throws {DiskError} NOT_FOUND, USAGE for a folder, IO
 */
export async function openStream(path: string, highWaterMark?: number): Promise<Readable> {
  const { fd: found, stats } = await findFile(path);
  try {
    if (stats.isDirectory()) throw new DiskError('USAGE', `${path} is a folder: name a file`, { device: path });
    if (!stats.isFIFO()) return createReadStream('', { fd: await reopen(found, 'read', path), highWaterMark });
    // Neither opening it nor reading from it may wait where a signal cannot end it.
    const fd = await openFd(`/proc/self/fd/${found}`, constants.O_RDONLY | constants.O_NONBLOCK);
    return new Socket({ fd, readable: true, writable: false });
  } finally {
    await closeFile(found);
  }
}
