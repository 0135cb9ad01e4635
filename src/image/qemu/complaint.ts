import { fstatSync } from 'node:fs';
import type { BlockDevice } from '../../device/block-device.js';
import { DiskError, type ErrorCode } from '../../error/disk-error.js';
import { identify } from '../../host/file-identity.js';
import { findUsers, inUse } from '../in-use.js';

/** Lines that are passed on at most. */
const mostLines = 5;

/** What QEMU says without a sign of trouble. */
const chatter = /^\s*$|Disconnect client|Failed to (send|read|receive)|Connection (closed|reset)/i;

/** What qemu-nbd or qemu-img has written to standard error, line by line, without its own name and the node that it was given. */
export function tidyComplaint(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => !chatter.test(line))
    .map((line) =>
      line
        .replace(/^qemu-(nbd|img): /, '')
        .replace(/^Failed to blk_new_open 'json:.*?\}': /, '')
        .trim(),
    )
    .slice(0, mostLines);
}

/** QEMU's words that mean something to us, and what we make of them. */
const meanings: readonly { words: RegExp; code: ErrorCode; reason: string; advice: string }[] = [
  {
    words: /contains a log that needs to be replayed/,
    code: 'UNSUPPORTED',
    reason: 'log',
    advice: 'it was not closed in good order: replay its log first, which changes it: qemu-img check -r all',
  },
  {
    words: /Unknown driver|not compiled|not whitelisted/,
    code: 'UNSUPPORTED',
    reason: 'driver',
    advice: 'this QEMU was built without the format',
  },
  {
    words: /not supported|unsupported|not handled|differencing/i,
    code: 'UNSUPPORTED',
    reason: 'qemu',
    advice: 'QEMU does not open it',
  },
  {
    words: /Permission denied|No such file/,
    code: 'IO',
    reason: 'qemu',
    advice: 'QEMU cannot open one of its files',
  },
];

/**
 * Why QEMU did not open an image.
 *
 * @param text what it wrote to standard error
 * @param file the image's own, to find out who else has it open
 * @param cause what its silence looked like from here
 */
export async function complaintAsError(
  path: string,
  text: string,
  file: BlockDevice | undefined,
  cause: unknown,
): Promise<DiskError> {
  const fd = file?.facts.hostFile?.fd;
  if (/Failed to get ".*" lock|Is another process using the image/.test(text) && fd !== undefined) {
    const stats = fstatSync(fd, { bigint: true });
    const users = await findUsers(identify(stats), [fd], stats.isBlockDevice() ? stats.rdev : undefined);
    return inUse(path, users, 'lock', 'write');
  }
  const said = tidyComplaint(text)
    .join('; ')
    .replaceAll(/'?\/proc\/\d+\/fd\/\d+'?/g, path);
  const { code, reason, advice } = meanings.find(({ words }) => words.test(text)) ?? {
    code: said === '' ? 'IO' : 'CORRUPT',
    reason: 'qemu',
    advice: 'QEMU cannot open it',
  };
  return new DiskError(code, `${path}: ${advice}${said === '' ? '' : ` (${said})`}`, { device: path, reason, cause });
}
