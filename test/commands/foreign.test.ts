import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, vi } from 'vitest';
import { identify } from '../../src/host/file-identity.js';
import { findHolders } from '../../src/host/holders.js';
import { guestImage } from '../support/guest-image.js';
import { needs } from '../support/needs.js';
import { disktoolHere, disktoolPath, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

/** A guest disk, and the same in another format, by qemu-img. */
async function guest(format: string, ...options: string[]) {
  const raw = await guestImage();
  const image = join(await temporaryFolder(), `guest.${format}`);
  await run('qemu-img', ['convert', '-f', 'raw', '-O', format, ...options, raw, image]);
  return { raw, image };
}

describe('an image that QEMU reads', () => {
  const it = needs({ programs: ['qemu-img', 'qemu-nbd', 'sfdisk', 'mke2fs', 'mkswap'] });

  for (const [format, ...options] of [['vmdk', '-o', 'subformat=streamOptimized'], ['vdi'], ['vhdx']] as const) {
    it(`is listed, copied, taken apart, made small and served as the raw disk is: ${format}`, async () => {
      const { raw, image } = await guest(format, ...options);
      const folder = await temporaryFolder();
      const [copy, part, small] = [join(folder, 'copy'), join(folder, 'part'), join(folder, 'small')];
      const entries = async (path: string) =>
        JSON.parse((await disktoolHere(['filesystems', '--all', '--json', path])).stdout).entries;
      expect(await entries(image)).toEqual(await entries(raw));
      expect((await disktoolHere(['copy', '--convert', 'raw', image, copy])).status).toBe(0);
      await run('cmp', [copy, raw]);
      expect((await disktoolHere(['download', image, '/dev/sda1', part])).status).toBe(0);
      await run('cmp', ['-n', String(32 << 20), '-i', `0:${1 << 20}`, part, raw]);
      expect((await disktoolHere(['sparsify', image, '--output', small, '--convert', 'raw'])).status).toBe(0);
      expect(await entries(small)).toEqual(await entries(raw));
      const compare = `qemu-img compare -f raw -F raw "$uri" ${raw}`;
      for (const how of ['--read-only', '--cow']) {
        expect((await disktoolHere(['serve', image, how, '--run', compare])).status).toBe(0);
      }
    });
  }

  it('is let go of when disktool is stopped or killed', async () => {
    const { image } = await guest('vdi');
    const file = identify(await stat(image, { bigint: true }));
    const socket = join(await temporaryFolder(), 'socket');
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
      const child = spawn(process.execPath, [disktoolPath, 'serve', '-r', image, '--socket', socket], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const ended = once(child, 'close');
      await once(child.stdout, 'data');
      expect((await findHolders(file, [])).map(({ command }) => command)).toContain('qemu-nbd');
      child.kill(signal);
      await ended;
      await vi.waitFor(async () => expect(await findHolders(file, [])).toEqual([]), { timeout: 10_000 });
    }
  });
});
