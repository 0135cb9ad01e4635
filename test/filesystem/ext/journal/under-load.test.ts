import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { openExt } from '../../../../src/filesystem/ext/ext.js';
import { findings, mountedContents } from '../../../support/dirty-ext.js';
import { dumpe2fs, poison } from '../../../support/ext-image.js';
import { differingBlocks, replayedByDebugfs, superblocks, withReplayed } from '../../../support/ext-journal.js';
import { mounted, until } from '../../../support/mounted.js';
import { needs } from '../../../support/needs.js';
import { openRaw } from '../../../support/raw-device.js';
import { run } from '../../../support/run.js';
import { mountLoop } from '../../../support/temporary.js';

/** Files of all sizes and folders come and go, some of them brought to the disk at once. */
const load = `
i=0
while :; do
  i=$((i + 1)); d=d$((i % 23))
  rm -rf "$d"; mkdir "$d"
  for j in 1 2 3 4 5 6 7 8 9; do head -c $((i * j * 97 % 90000)) /dev/zero | tr '\\0' x > "$d/a rather long name $j"; done
  [ $((i % 3)) = 0 ] && sync "$d" "$d"/*
done`;

/** Has a shell do it until the test ends, or the answer is called. */
function busy(folder: string): () => Promise<void> {
  const shell = spawn('sh', ['-c', load], { cwd: folder, stdio: 'ignore', detached: true });
  const { pid } = shell;
  const isThere = (signal: 0 | 'SIGKILL') => {
    try {
      return pid !== undefined && process.kill(-pid, signal);
    } catch {
      return false;
    }
  };
  // All that it has started, too, else the filesystem stays busy.
  const stop = async () => {
    isThere('SIGKILL');
    await until(() => !isThere(0));
  };
  onTestFinished(stop);
  return stop;
}

const programs = ['mke2fs', 'debugfs', 'dumpe2fs', 'e2fsck', 'mount', 'mkfs.btrfs'] as const;

for (const [name, mke2fs] of [
  ['ext4', '-t ext4 -b 1024 -J size=1'],
  ['ext4 of 4 KiB blocks', '-t ext4 -b 4096 -J size=4'],
  ['ext3', '-t ext3 -b 1024 -J size=1'],
] as const) {
  // Where files share blocks, a copy shows the image as it is at one moment: what a crash would leave.
  needs({ programs, root: true, slow: true, nightly: name === 'ext4 of 4 KiB blocks' })(
    `${name}: whenever the guest crashes, its journal is replayed as debugfs does, and free space is free`,
    async () => {
      const { mountPoint: host } = await mounted('btrfs', 512 << 20);
      const live = join(host, 'live.img');
      await run('mke2fs', ['-Fq', ...mke2fs.split(' '), live, '32M']);
      const { mountPoint, unmount } = await mountLoop(live);
      const stop = busy(mountPoint);
      const snapshots = Array.from({ length: 8 }, (_, i) => join(host, `snapshot-${i}.img`));
      for (const snapshot of snapshots) {
        await sleep(400);
        await run('cp', ['--reflink=always', live, snapshot]);
      }
      await stop();
      await unmount();
      for (const path of snapshots) {
        const replayed = await replayedByDebugfs(path);
        const { backups, blockSize } = await dumpe2fs(replayed);
        await withReplayed(path, async (view, own) => {
          const ignored = own.union(superblocks(blockSize, backups));
          expect(await differingBlocks(view, replayed, blockSize, ignored)).toEqual([]);
        });
        await using device = await openRaw(path);
        const filesystem = await openExt(device);
        expect(filesystem.state.kind).toBe('needs-recovery');
        const free = await filesystem.freeSpace();
        const [untouched, poisoned] = [`${path}.untouched`, `${path}.poisoned`];
        await run('cp', ['--reflink=always', path, untouched]);
        await run('cp', ['--reflink=always', path, poisoned]);
        await poison(poisoned, free);
        expect(await mountedContents(poisoned)).toEqual(await mountedContents(untouched));
        expect(await findings(poisoned)).toMatch(/^0\n/);
        expect(free.subtract((await dumpe2fs(untouched)).free).total).toBe(0n);
      }
    },
  );
}
