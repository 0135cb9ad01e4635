import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openFileOnDisk } from '../../src/task/block-map/file-extents.js';
import { kernelFiles } from '../support/kernel-files.js';
import { needs } from '../support/needs.js';
import { ownedDisk, ownedDiskPrograms } from '../support/owned-disk.js';
import { populate } from '../support/populate.js';
import { disktool, run } from '../support/run.js';
import { mountLoop, temporaryFolder } from '../support/temporary.js';

const asRoot = needs({ programs: ['mke2fs', 'mount', 'getfattr', 'fallocate'], root: true });
const it = needs({ programs: ownedDiskPrograms });

/** The kernel tells of content alone, and of what is inline where it begins. */
async function contentOf(image: string, path: string): Promise<object[]> {
  await using file = await openFileOnDisk(image, '/dev/sda', path, {}, {});
  const found: object[] = [];
  let inlineBefore = false;
  for await (const { role, fileOffset, diskOffset: offset, length, unwritten, inline } of file.extents()) {
    if (role === 'metadata' || inlineBefore) continue;
    found.push({ fileOffset, offset, length: inline ? undefined : length, unwritten, inline });
    inlineBefore = inline;
  }
  return found;
}

asRoot(
  'a file lies where FIEMAP says',
  async () => {
    const path = join(await temporaryFolder(), 'ext.img');
    await writeFile(path, '');
    await run('mke2fs', ['-Fq', '-t', 'ext4', '-O', 'inline_data', '-N', '4000', path, '200M']);
    const { mountPoint, unmount } = await mountLoop(path);
    await populate(mountPoint, { entries: 300, pieces: 100, reach: 1 << 24 });
    await unmount();
    const again = await mountLoop(path, ['ro']);
    const files = kernelFiles(again.mountPoint);
    await again.unmount();
    let seen = 0;
    for (const [bytes, { extents }] of files) {
      const name = Buffer.from(bytes, 'latin1').toString();
      // Names that are no text cannot be asked for.
      if (extents === undefined || Buffer.from(name).toString('latin1') !== bytes) continue;
      const expected = extents.map((extent) => ({ ...extent, length: extent.inline ? undefined : extent.length }));
      expect(await contentOf(path, name), name).toEqual(expected);
      seen++;
    }
    expect(seen).toBeGreaterThan(100);
  },
  60_000,
);

it('tells of each part where it is in the file and on the disk, as a table or as JSON', async () => {
  const { image, root, rootOffset } = await ownedDisk();
  const bmap = (file: string, ...flags: string[]) => disktool(['bmap', image, '--file', file, ...flags]);
  const blocks = (await run('debugfs', ['-R', 'blocks /pieces', root])).trim().split(/\s+/).map(Number);
  const json = JSON.parse((await bmap('1:/pieces', '--json')).stdout);
  expect(json).toMatchObject({ device: '/dev/sda1', path: '/pieces', type: 'file' });
  const own: { role: string; diskOffset: number; deviceOffset: number; length: number }[] = json.extents;
  // As debugfs does, the block of its map that names others before these.
  const covered = own.flatMap(({ deviceOffset, length }) =>
    Array.from({ length: length / 1024 }, (_, i) => deviceOffset / 1024 + i),
  );
  expect(covered).toEqual(blocks);
  expect(own.map(({ role }) => role).slice(0, 2)).toEqual(['metadata', 'content']);
  for (const { diskOffset, deviceOffset } of own) expect(diskOffset - deviceOffset).toBe(rootOffset);
  const { stdout, status } = await bmap('LABEL=owned:/unwritten');
  const lines = stdout.split('\n');
  expect({ status, head: lines[0], last: lines.at(-1) }).toEqual({
    status: 0,
    head: expect.stringMatching(/^\/unwritten of \/dev\/sda1: file, inode \d+, 20480 bytes$/),
    last: '2 extents',
  });
  expect(lines[2]).toMatch(/^ +0 +0 +\d+ +1024$/);
  expect(lines[3]).toMatch(/^ +1 +1024 +\d+ +19456 +unwritten$/);
  expect((await bmap('/dev/sda1:/link')).stdout).toMatch(/^\/link of \/dev\/sda1: file, inode \d+, 3300 bytes\n/);
  expect((await bmap('sda1:small')).stdout).toMatch(/^small of .*, 12 bytes\n.*\n +0 +0 +\d+ +12 +inline\n1 extent$/);
  expect((await bmap('sda1:/etc')).stdout).toContain(': directory, inode ');
  const refusals: [string, number, string][] = [
    ['/dev/sda1:/nothing', 1, '/nothing: there is no such file'],
    ['/dev/sda5:/x', 1, 'holds crypto_LUKS, whose files disktool does not read'],
    ['/etc/passwd', 2, 'names no file: write it like /dev/sda1:/etc/fstab'],
  ];
  for (const [file, code, words] of refusals) {
    expect(await bmap(file), file).toMatchObject({ status: code, stdout: '', stderr: expect.stringContaining(words) });
  }
});
