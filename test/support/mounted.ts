import { spawn } from 'node:child_process';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Program } from './needs.js';
import { attempt, run } from './run.js';
import { mountLoop, temporaryFolder } from './temporary.js';

/** Filesystems that the kernel mounts, and the smallest comfortable image of each in bytes. */
export const mountable = {
  ext4: { program: 'mke2fs', make: ['mke2fs', '-q', '-t', 'ext4'], size: 96 << 20 },
  xfs: { program: 'mkfs.xfs', make: ['mkfs.xfs', '-q'], size: 320 << 20 },
  btrfs: { program: 'mkfs.btrfs', make: ['mkfs.btrfs', '-q'], size: 256 << 20 },
} as const satisfies Record<string, { program: Program; make: readonly string[]; size: number }>;
export type Mountable = keyof typeof mountable;

/** A fresh filesystem, mounted by loop until the test ends. */
export async function mounted(
  type: Mountable,
  size: number = mountable[type].size,
): Promise<{ image: string; mountPoint: string; unmount: () => Promise<void> }> {
  const image = join(await temporaryFolder(), `${type}.img`);
  await writeFile(image, '');
  await truncate(image, size);
  const [program, ...args] = mountable[type].make;
  await run(program, [...args, image]);
  return { image, ...(await mountLoop(image)) };
}

/** Whatever goes wrong with a test, nothing stays frozen. */
export function safetyNet(mountPoint: string, seconds = 30): void {
  const net = spawn('sh', ['-c', `sleep ${seconds}; fsfreeze --unfreeze "$1"`, 'sh', mountPoint], {
    detached: true,
    stdio: 'ignore',
  });
  net.unref();
  onTestFinished(() => {
    if (net.pid === undefined) return;
    try {
      process.kill(-net.pid);
    } catch {
      // Its time was up.
    }
  });
}

/** Asks the kernel: freezing once more fails while it is frozen. */
export async function isFrozen(mountPoint: string): Promise<boolean> {
  const { status, stderr } = await attempt('fsfreeze', ['--freeze', mountPoint], { env: { LC_ALL: 'C' } });
  if (status === 0) await run('fsfreeze', ['--unfreeze', mountPoint]);
  else if (!stderr.includes('Device or resource busy')) throw new Error(stderr);
  return status !== 0;
}

/** Waits until something is so, looking often. */
export async function until(what: () => boolean | Promise<boolean>, patience = 10_000): Promise<void> {
  const deadline = performance.now() + patience;
  while (!(await what())) {
    if (performance.now() > deadline) throw new Error('it never came to pass');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
