import { readdir, readFile, readlink } from 'node:fs/promises';

/** Who uses what is mounted. */
export interface Users {
  /** Loop devices, that may be mounted themselves: the kernel may still have to write to them. */
  readonly loops: readonly string[];
  /** In words: `/dev/loop0, process 4242 (qemu-system-x86)`. */
  readonly text: string;
}

/**
 * Finds out who has something below a mount point open, as far as one may look. By paths alone: asking the files
 * themselves would be asking us, and could wait for this very thread.
 */
export async function findUsers(mountPoint: string): Promise<Users> {
  const below = (path: string) => path === mountPoint || path.startsWith(`${mountPoint}/`);
  const loops: string[] = [];
  for (const name of await readdir('/sys/block').catch(() => [])) {
    const backing = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
    if (below(backing.replace(/\n$/, ''))) loops.push(`/dev/${name}`);
  }
  const processes: string[] = [];
  for (const pid of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(pid)) continue;
    const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
    const links = [`/proc/${pid}/cwd`, ...fds.map((fd) => `/proc/${pid}/fd/${fd}`)];
    const paths = await Promise.all(links.map((link) => readlink(link).catch(() => '')));
    if (!paths.some(below)) continue;
    const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
    processes.push(`process ${pid} (${command.trimEnd()})`);
  }
  const all = [...loops, ...processes];
  return { loops, text: all.length === 0 ? 'somebody' : all.slice(0, 5).join(', ') };
}
