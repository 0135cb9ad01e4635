import { stripVTControlCharacters } from 'node:util';
import { Errors } from '@oclif/core';
import { DiskError } from '../error/disk-error.js';
import { errnoMeaning, errnoOf } from '../host/errno.js';

/** What is said of an error. */
export interface Failure {
  /** Empty when it has been said already. */
  readonly message: string;
  /** Exit status: 1 failed, 2 wrong usage. */
  readonly status: number;
  /** Whether the command line was at fault, so that its help is worth a look. */
  readonly usage: boolean;
  /** The causes below it, outermost first. */
  readonly causes: readonly string[];
  /** What `--json` prints. */
  readonly document: object;
}

/** Turns anything that was thrown into words. What is neither ours nor the system's is a bug, and says so. */
export function explain(error: unknown): Failure {
  const causes = causesOf(error);
  if (error instanceof DiskError) {
    const usage = error.code === 'USAGE';
    const message = tidied(error.message);
    return { message, status: usage ? 2 : 1, usage, causes, document: { ...error.toJSON(), message } };
  }
  if (error instanceof Errors.ExitError) {
    return { message: '', status: error.oclif.exit ?? 1, usage: false, causes: [], document: {} };
  }
  if (error instanceof Errors.CLIError) {
    const tidy = tidied(parserWords(error.message));
    const said = /^[A-Z][a-z]/.test(tidy) ? tidy.charAt(0).toLowerCase() + tidy.slice(1) : tidy;
    return { message: said, status: 2, usage: true, causes, document: { code: 'USAGE', message: said } };
  }
  const errno = errnoOf(error);
  if (errno !== undefined && error instanceof Error) {
    const message =
      'path' in error && typeof error.path === 'string'
        ? `${error.path}: ${errnoMeaning(errno)} (${errno})`
        : error.message;
    return { message, status: 1, usage: false, causes, document: { code: 'IO', message, errno } };
  }
  const said = error instanceof Error ? error.message : String(error);
  const message = `internal error: ${said}: this is a bug, please report it with the output of --verbose`;
  const stack = error instanceof Error && error.stack !== undefined ? [error.stack, ...causes] : causes;
  return { message, status: 1, usage: false, causes: stack, document: { code: 'INTERNAL', message } };
}

/** What oclif's parser says in a list, with colours, descriptions, values and advice: which arguments, which flags. */
function parserWords(message: string): string {
  const plain = stripVTControlCharacters(message);
  if (/^Missing \d+ required arg/.test(plain)) {
    // A name begins a line; what its description goes on with is indented.
    const [, list = ''] = /:\n(.*?)(\n\n|\nSee more|$)/s.exec(plain) ?? [];
    const names = [...list.matchAll(/^\S+/gm)].map(([name]) => name.toUpperCase());
    return `${names.join(' and ')} missing`;
  }
  return plain
    .replace(/^The following errors? occurred:\s*/, '')
    .replaceAll(
      /(--[\w-]+)(?:=[^\n]*?)? cannot also be provided when using (--[\w-]+)\n?/g,
      '$2 and $1 do not go together; ',
    )
    .replace(/; (?=\s*(See more|$))/, '');
}

/** On one line, without what oclif's parser puts around a message, its own or that of a flag's parser. */
function tidied(message: string): string {
  return message
    .replace(/\s*See more help with --help\s*$/, '')
    .replace(/^Parsing (--\S+)\s+/, '$1: ')
    .replace(/\s+/g, ' ')
    .trim();
}

function causesOf(error: unknown): string[] {
  const causes: string[] = [];
  for (let cause = error instanceof Error ? error.cause : undefined; cause instanceof Error; cause = cause.cause) {
    causes.push(cause.message);
    if (causes.length === 10) break;
  }
  return causes;
}
