import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { hold } from './hold.js';
import { temporaryFolder } from './temporary.js';

/**
 * A real qemu-ga, on a unix socket. Its thaw is of every filesystem that it sees, and other tests have frozen some: it
 * runs in a mount namespace of its own, where only these mounts are left of all that tests have mounted.
 */
export async function realAgent(mountPoints: readonly string[]): Promise<{ path: string; end: () => Promise<void> }> {
  const folder = await temporaryFolder();
  const path = join(folder, 'agent.sock');
  const script = `mine=" $* "
    while read -r _ _ _ _ at _; do
      case "$at" in /tmp/disktool-mount-*) case "$mine" in *" $at "*) ;; *) umount -l "$at" ;; esac ;; esac
    done < /proc/self/mountinfo
    exec qemu-ga --method unix-listen --path "$0/agent.sock" --statedir "$0" --pidfile "$0/pid" --logfile "$0/log"`;
  const { end } = await hold('unshare', ['-m', 'sh', '-c', script, folder, ...mountPoints], () => existsSync(path));
  return { path, end };
}
