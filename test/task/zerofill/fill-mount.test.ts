import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { copyFile, readdir, readFile, stat, statfs, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fillMount } from '../../../src/task/zerofill/fill-mount.js';
import { type Mountable, mountable, mounted, until } from '../../support/mounted.js';
import { needs } from '../../support/needs.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const mebibyte = 1 << 20;
const btrfs = needs({ programs: ['mkfs.btrfs', 'mount'], root: true });
const ext4 = needs({ programs: ['mke2fs', 'e2fsck', 'zerofree', 'mount'], root: true });

async function freeOf(mountPoint: string): Promise<number> {
  await run('sync', ['-f', mountPoint]);
  return (await statfs(mountPoint)).bavail;
}

async function allocatedOf(path: string): Promise<number> {
  return (await stat(path)).blocks * 512;
}

/** Writes `length` bytes of noise to a filesystem and removes it again, so that its free space is not zeros. */
async function spoil(mountPoint: string, length: number): Promise<void> {
  await writeFile(join(mountPoint, 'noise'), randomBytes(length));
  await run('sync', ['-f', mountPoint]);
  await run('rm', [join(mountPoint, 'noise')]);
  await run('sync', ['-f', mountPoint]);
}

describe.each(Object.keys(mountable) as Mountable[])('fillMount on %s', (type) => {
  const it = needs({ programs: ['mount', mountable[type].program], root: true });

  it('leaves no file and all the space that was free, and writes zeros to nearly all of it', async () => {
    const { mountPoint, image, unmount } = await mounted(type);
    const before = await freeOf(mountPoint);
    const reserve = BigInt(4 * mebibyte);
    const { free, zeroed } = await fillMount(mountPoint, { reserve }, {});
    await until(async () => (await freeOf(mountPoint)) === before);
    expect((await readdir(mountPoint)).filter((name) => name !== 'lost+found')).toEqual([]);
    expect(Number(zeroed)).toBeGreaterThan(0.85 * Number(free - reserve));
    expect(Number(zeroed)).toBeLessThanOrEqual(Number(free - reserve));
    await unmount();
    // The zeros were really written: they take room in the image.
    expect(await allocatedOf(image)).toBeGreaterThan(Number(zeroed));
  });

  it('leaves no file and all the space that was free when it is killed midway', async () => {
    const { mountPoint } = await mounted(type);
    const before = await freeOf(mountPoint);
    const module = new URL('../../../dist/src/task/zerofill/fill-mount.js', import.meta.url).href;
    const script = `const { fillMount } = await import(${JSON.stringify(module)});
      await fillMount(process.argv[1], { reserve: 0n }, { onProgress: ({ done }) => {
        if (done >= ${16 * mebibyte}n) process.kill(process.pid, 'SIGKILL');
      } });`;
    const signal = await new Promise((resolve) => {
      execFile(process.execPath, ['--input-type=module', '--eval', script, mountPoint], (error) =>
        resolve(error?.signal),
      );
    });
    expect(signal).toBe('SIGKILL');
    await until(async () => (await freeOf(mountPoint)) === before);
    expect((await readdir(mountPoint)).filter((name) => name !== 'lost+found')).toEqual([]);
  });
});

describe('fillMount', () => {
  ext4('leaves to zerofree only what it kept in reserve, and every file as it was', async () => {
    const { mountPoint, image, unmount } = await mounted('ext4', 128 * mebibyte);
    const kept = randomBytes(3 * mebibyte);
    await writeFile(join(mountPoint, 'kept'), kept);
    await spoil(mountPoint, 80 * mebibyte);
    const reserve = 2 * mebibyte;
    await fillMount(mountPoint, { reserve: BigInt(reserve) }, {});
    expect(sha256(await readFile(join(mountPoint, 'kept')))).toBe(sha256(kept));
    await unmount();
    await run('e2fsck', ['-fn', image]);
    const ours = join(await temporaryFolder(), 'sparse.img');
    await run('cp', ['--sparse=always', image, ours]);
    const reference = join(await temporaryFolder(), 'zerofree.img');
    await copyFile(image, reference);
    await run('zerofree', [reference]);
    await run('fallocate', ['--dig-holes', reference]);
    const difference = (await allocatedOf(ours)) - (await allocatedOf(reference));
    expect(difference).toBeLessThanOrEqual(0.02 * (await allocatedOf(reference)) + reserve);
  });

  btrfs('fills a filesystem that compresses all else', async () => {
    const { mountPoint, image, unmount } = await mounted('btrfs');
    await run('mount', ['-o', 'remount,compress-force=zstd', mountPoint]);
    const { zeroed } = await fillMount(mountPoint, { reserve: BigInt(4 * mebibyte) }, {});
    await unmount();
    expect(await allocatedOf(image)).toBeGreaterThan(Number(zeroed));
  });

  ext4('keeps 64 MiB free unless told otherwise, and says so when there is not more', async () => {
    const { mountPoint } = await mounted('ext4', 32 * mebibyte);
    const warnings: string[] = [];
    const { zeroed } = await fillMount(mountPoint, {}, { onWarning: (message) => warnings.push(message) });
    expect(zeroed).toBe(0n);
    expect(warnings).toEqual([expect.stringContaining('there is nothing to fill')]);
  });

  ext4('stops when it is told to, and leaves nothing', async () => {
    const { mountPoint } = await mounted('ext4');
    const before = await freeOf(mountPoint);
    const stop = new AbortController();
    const filling = fillMount(mountPoint, { reserve: 0n }, { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(filling).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await freeOf(mountPoint)).toBe(before);
  });

  ext4('refuses a filesystem that is mounted read-only', async () => {
    const { mountPoint } = await mounted('ext4');
    await run('mount', ['-o', 'remount,ro', mountPoint]);
    await expect(fillMount(mountPoint, {}, {})).rejects.toMatchObject({ code: 'READ_ONLY' });
  });

  test('refuses a folder that is no mount point, also through a link', async () => {
    const folder = await temporaryFolder();
    await symlink(folder, join(folder, 'link'));
    await expect(fillMount(join(folder, 'link'), {}, {})).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('not a mount point: it lies on the mount '),
    });
  });
});

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
