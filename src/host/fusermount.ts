import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants } from 'node:fs';
import { text } from 'node:stream/consumers';
import { DiskError } from '../error/disk-error.js';
import { type FuseMountOptions, openFuse } from './fuse-device.js';
import { call } from './libc.js';
import { requireProgram, runProgram } from './process.js';
import { receiveDescriptor } from './receive-descriptor.js';

/**
 * FUSE mounts of users who are not root: by fusermount3(1), which is, and which passes the descriptor to whoever started
 * it over the unix socket whose number _FUSE_COMMFD holds.
 */

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const F_SETFL = 4;
/** The first descriptor behind the standard ones. */
const passedAs = 3;

const advice = 'install fuse3, or do this as root';

export async function mountByProgram(path: string, options: FuseMountOptions): Promise<number> {
  // Says what is missing better than the program does.
  closeSync(openFuse());
  const program = requireProgram('fusermount3', advice);
  const pair = new Int32Array(2);
  call('socketpair', 'to fusermount3', AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
  const [ours = -1, theirs = -1] = pair;
  try {
    // execa passes no descriptors of ours on.
    const child = spawn(program, ['-o', optionsOf(options), '--', path], {
      stdio: ['ignore', 'ignore', 'pipe', theirs],
      env: { ...process.env, LC_ALL: 'C', _FUSE_COMMFD: String(passedAs) },
    });
    const ended = once(child, 'close');
    const [stderr, [status]] = await Promise.all([child.stderr === null ? '' : text(child.stderr), ended]);
    if (status !== 0) throw refused('mount on', path, stderr, options.allowOther);
    const fd = receiveDescriptor(ours, 'from fusermount3');
    call('fcntlNumber', 'of /dev/fuse', fd, F_SETFL, constants.O_RDWR | constants.O_NONBLOCK);
    return fd;
  } finally {
    closeSync(ours);
    closeSync(theirs);
  }
}

/** A comma would end the option, a backslash makes the next character an ordinary one. */
function optionsOf({ source, readOnly, allowOther }: FuseMountOptions): string {
  const name = source.replaceAll(/[\\,]/g, '\\$&');
  return [
    `fsname=${name}`,
    'subtype=disktool',
    'default_permissions',
    ...(readOnly ? ['ro'] : []),
    ...(allowOther ? ['allow_other'] : []),
  ].join(',');
}

export async function unmountByProgram(path: string, detach: boolean): Promise<boolean> {
  const program = requireProgram('fusermount3', advice);
  const { status, stderr } = await runProgram(program, ['-u', ...(detach ? ['-z'] : []), '--', path]);
  if (status === 0 || /not found in|Invalid argument|not mounted/.test(stderr)) return true;
  if (/busy/i.test(stderr)) return false;
  throw refused('unmount', path, stderr, false);
}

function refused(what: string, path: string, stderr: string, allowOther: boolean): DiskError {
  const said = stderr
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.replace(/^\S*fusermount3: /, ''))
    .join('; ');
  const why = allowOther && /user_allow_other/.test(said) ? ': have root put user_allow_other into /etc/fuse.conf' : '';
  return new DiskError('IO', `${what} ${path}: fusermount3: ${said === '' ? 'failed' : said}${why}`, { device: path });
}
