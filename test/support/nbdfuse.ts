import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { until } from './mounted.js';
import { attempt } from './run.js';
import { temporaryFolder } from './temporary.js';

/** Shows an export as a file, until the caller or the test takes it away. @param errors whether reads that fail are told */
export async function nbdfuse(
  uri: string,
  errors: 'inherit' | 'ignore' = 'inherit',
): Promise<{ file: string; pid: number; unmount: () => Promise<void> }> {
  const mountPoint = join(await temporaryFolder(), 'fuse');
  await mkdir(mountPoint);
  const file = join(mountPoint, 'disk');
  const child = spawn('nbdfuse', [file, uri], { stdio: ['ignore', 'inherit', errors] });
  const ended = once(child, 'close');
  const unmount = async () => {
    if (child.exitCode !== null) return;
    // It is busy for as long as somebody reads the file a last time: udev, say, after a partition table has changed.
    await until(async () => (await attempt('fusermount3', ['-u', mountPoint])).status === 0);
    await ended;
  };
  onTestFinished(unmount);
  await until(() => {
    if (child.exitCode !== null) throw new Error('nbdfuse did not start');
    return access(file).then(
      () => true,
      () => false,
    );
  });
  return { file, pid: child.pid ?? -1, unmount };
}
