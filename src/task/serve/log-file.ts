import { closeSync, openSync, writeSync } from 'node:fs';
import { wrapSystemError } from '../../host/errno.js';
import type { ExportOptions } from './open-export.js';

/** Written line by line, so that whoever reads it, and whoever kills us, misses nothing. */
export class LogFile {
  readonly #fd: number;

  /** @throws {DiskError} when it cannot be opened */
  constructor(path: string) {
    try {
      this.#fd = openSync(path, 'w');
    } catch (error) {
      throw wrapSystemError(`open the log ${path}`, error);
    }
  }

  write(line: string): void {
    writeSync(this.#fd, line);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** An export whose requests are written to a log, where there is one. */
export function withLog(wanted: ExportOptions, log: LogFile | undefined, prefix = ''): ExportOptions {
  if (log === undefined) return wanted;
  return { ...wanted, layers: { ...wanted.layers, log: (line) => log.write(`${prefix}${line}\n`) } };
}
