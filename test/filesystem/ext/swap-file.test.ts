import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { findFreeSpace } from '../../../src/guest/free-space.js';
import { openGuest } from '../../../src/guest/guest.js';
import { writeJournal } from '../../support/ext-journal.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['mke2fs', 'debugfs', 'dumpe2fs', 'sfdisk'] });

/** An ext4 that needs recovery, with a swap file of 64 KiB whose first page, of a size, ends in a signature. */
async function withSwapFile(signature: string, page: number, commands: readonly string[]): Promise<string> {
  const folder = await temporaryFolder();
  const [path, file] = [join(folder, 'a.img'), join(folder, 'swap')];
  const bytes = Buffer.alloc(65536, 0x11);
  bytes.write(signature.padEnd(10, '\0'), page - 10, 'latin1');
  await writeFile(file, bytes);
  await run('mke2fs', ['-Fqt', 'ext4', '-b', '4096', path, '16M']);
  const script = join(folder, 'script');
  await writeFile(script, commands.map((command) => `${command.replace('$', file)}\n`).join(''));
  await run('debugfs', ['-w', '-f', script, path]);
  await writeJournal(path, 'v3', 4096, [{ blocks: [[3000, Uint8Array.of(7)]] }]);
  return path;
}

async function freeSpaceOf(path: string) {
  await using device = await openRaw(path);
  return await (await openExt(device)).freeSpace();
}

describe('a filesystem that needs recovery', () => {
  const places: Record<string, readonly string[]> = {
    '/swapfile': ['write $ swapfile'],
    '/swap.img': ['write $ swap.img'],
    '/swap/swapfile': ['mkdir swap', 'cd swap', 'write $ swapfile'],
    '/swap': ['write $ elsewhere', 'symlink swap /elsewhere'],
  };
  for (const [name, commands] of Object.entries(places)) {
    it(`has nothing free while its swap file ${name} holds a hibernation image`, async () => {
      const path = await withSwapFile('S1SUSPEND', 4096, commands);
      const reason = `its swap file ${name} holds a hibernation image`;
      await expect(freeSpaceOf(path)).rejects.toMatchObject({
        code: 'UNSAFE',
        message: expect.stringContaining(reason),
      });
    });
  }

  it('is looked at for pages of any size', async () => {
    const path = await withSwapFile('ULSUSPEND', 65536, ['write $ swapfile']);
    await expect(freeSpaceOf(path)).rejects.toMatchObject({ code: 'UNSAFE' });
  });

  it('with a swap file that holds none has free space', async () => {
    const path = await withSwapFile('SWAPSPACE2', 4096, ['write $ swapfile', 'symlink swap /swap']);
    expect((await freeSpaceOf(path)).total).toBeGreaterThan(0n);
  });

  it('with one keeps the other filesystems of its guest as they are too', async () => {
    const root = await withSwapFile('S1SUSPEND', 4096, ['write $ swapfile']);
    const [home, disk] = [`${root}.home`, `${root}.disk`];
    await run('mke2fs', ['-Fqt', 'ext4', home, '16M']);
    await writeFile(disk, '');
    await truncate(disk, 40 << 20);
    await run('sfdisk', ['-q', disk], { stdin: 'pipe', input: '2048,32768\n34816,32768\n' });
    for (const [path, start] of [
      [root, 1],
      [home, 17],
    ] as const) {
      await run('dd', [`if=${path}`, `of=${disk}`, 'bs=1M', `seek=${start}`, 'conv=notrunc', 'status=none']);
    }
    await using device = await openRaw(disk);
    const { free, volumes } = await findFreeSpace(await openGuest(device), { unpartitioned: true });
    expect(free.total).toBe(0n);
    expect(volumes.map(({ leftAlone }) => leftAlone)).toMatchObject([
      { kind: 'refused', hibernated: true },
      { kind: 'refused', reason: 'the guest is hibernated: /dev/sda1 holds its hibernation image' },
      { kind: 'refused' },
    ]);
  });
});
