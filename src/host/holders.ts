import { readdir, readFile, readlink } from 'node:fs/promises';
import type { FileIdentity } from './file-identity.js';
import { knownIdentity } from './known-identity.js';

/** Access modes in the flags of /proc/PID/fdinfo: fcntl.h. */
const O_ACCMODE = 3;
const O_PATH = 0o10000000;

/** A process that has a file open. */
export interface Holder {
  readonly pid: number;
  /** As the kernel keeps it, cut to 15 bytes: `qemu-system-x86`. */
  readonly command: string;
  readonly writable: boolean;
}

/**
 * The processes that have a file open, of those that may be looked into: with root's rights all, else one's own.
 *
 * @param except descriptors of this process that do not count
 */
export async function findHolders(file: FileIdentity, except: readonly number[]): Promise<Holder[]> {
  const holders: Holder[] = [];
  const entries = await readdir('/proc').catch(() => []);
  for (const entry of entries) {
    if (!/^\d+$/.test(entry)) continue;
    const pid = Number(entry);
    const modes = await modesOf(pid, file, pid === process.pid ? except : []);
    if (modes.length === 0) continue;
    const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
    holders.push({ pid, command: command.trimEnd(), writable: modes.includes('write') });
  }
  return holders;
}

/** How the process has the file open, descriptor by descriptor; nothing when it has gone or is not to be seen. */
async function modesOf(
  pid: number,
  file: FileIdentity,
  except: readonly number[],
): Promise<readonly ('read' | 'write')[]> {
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const modes = await Promise.all(
    fds.filter((fd) => !except.includes(Number(fd))).map((fd) => modeOf(pid, fd, file).catch(() => undefined)),
  );
  return modes.filter((mode) => mode !== undefined);
}

async function modeOf(pid: number, fd: string, file: FileIdentity): Promise<'read' | 'write' | undefined> {
  const path = `/proc/${pid}/fd/${fd}`;
  // Pipes and sockets have no path.
  if (!(await readlink(path)).startsWith('/')) return undefined;
  if ((await knownIdentity(path)).key !== file.key) return undefined;
  const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
  const flags = Number.parseInt(/^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? '0', 8);
  if ((flags & O_PATH) !== 0) return undefined;
  return (flags & O_ACCMODE) === 0 ? 'read' : 'write';
}
