import { onTestFinished } from 'vitest';
import { run } from './run.js';

export interface LoopDevice {
  /** `/dev/loop3` */
  readonly path: string;
  /** Before the test ends; once is enough. */
  detach(): Promise<void>;
}

/**
 * A loop device on a file, until the test ends at the latest. It is detached once and no more: from then on its number is
 * free, and the next to ask for a loop device, a test that runs beside this one say, gets it.
 *
 * @param options of losetup: `--read-only`, `--offset`, `--sector-size`
 */
export async function loopDevice(file: string, ...options: readonly string[]): Promise<LoopDevice> {
  const path = (await run('losetup', ['--find', '--show', ...options, file])).trim();
  let attached = true;
  const detach = async () => {
    if (!attached) return;
    attached = false;
    await run('losetup', ['--detach', path]);
  };
  onTestFinished(detach);
  return { path, detach };
}
