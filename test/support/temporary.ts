import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, onTestFinished } from 'vitest';
import { attempt, run } from './run.js';

const newFolder = () => mkdtemp(join(process.env.DISKTOOL_TEST_DIR ?? tmpdir(), 'disktool-test-'));

/** A folder of the test's own, gone when it ends. */
export async function temporaryFolder(): Promise<string> {
  const folder = await newFolder();
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const shared: string[] = [];
afterAll(async () => {
  for (const folder of shared) await rm(folder, { recursive: true, force: true });
});

/** A folder for what several tests of a file start from, gone when all of them have ended. */
export async function sharedFolder(): Promise<string> {
  const folder = await newFolder();
  shared.push(folder);
  return folder;
}

/** Mounts an image by loop on a new folder; unmounted when the test ends. Returns the mount point and how to unmount. */
export async function mountLoop(
  image: string,
  options: readonly string[] = [],
): Promise<{ mountPoint: string; unmount: () => Promise<void> }> {
  const mountPoint = await mkdtemp(join(tmpdir(), 'disktool-mount-'));
  await run('mount', ['-o', ['loop', ...options].join(','), image, mountPoint]);
  let mounted = true;
  const unmount = async () => {
    if (!mounted) return;
    mounted = false;
    await attempt('fsfreeze', ['--unfreeze', mountPoint]);
    await run('umount', [mountPoint]);
    await rm(mountPoint, { recursive: true });
  };
  onTestFinished(unmount);
  return { mountPoint, unmount };
}
