import { existsSync, linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { RangeSet } from '../../src/binary/range-set.js';
import { openFileOnDisk } from '../../src/task/block-map/file-extents.js';
import { ownersOf } from '../../src/task/block-map/owners.js';
import { damageDirectory, damageInode } from '../support/ext-damage.js';
import { patchSuperblock } from '../support/ext-image.js';
import { guestDiskPrograms, makeGuestDisk } from '../support/guest-disk.js';
import { fillLogical, lvmDisk, lvmNeeds } from '../support/lvm-image.js';
import { lvmVariants } from '../support/lvm-variants.js';
import { needs } from '../support/needs.js';
import { disktool, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: guestDiskPrograms });

interface Line {
  readonly start: number;
  readonly end: number;
  readonly kind: string;
  readonly device: string;
  readonly path: string;
}

function parse(text: string): Line[] {
  return text.split('\n').map((line) => {
    const [, disk, start = '', end = '', kind = '', device = '', path = ''] =
      /^(\d+) ([0-9a-f]+) ([0-9a-f]+) ([vpfdmsu]) (\S+)(?: (.*))?$/.exec(line) ?? [];
    expect(disk, line).toBe('1');
    return { start: Number.parseInt(start, 16), end: Number.parseInt(end, 16), kind, device, path };
  });
}

function rangesOf(lines: readonly Line[]): RangeSet {
  return RangeSet.of(lines.map(({ start, end }) => ({ offset: BigInt(start), length: BigInt(end - start) })));
}

it('names the owner of every byte of a filesystem, and each file where debugfs does', async () => {
  const { image, root, rootOffset, rootSize } = await makeGuestDisk();
  const { status, stdout, stderr } = await disktool(['bmap', '--free', '--progress', 'none', image]);
  expect({ status, stderr }).toEqual({
    status: 0,
    stderr: 'disktool: 2 partitions, 0 logical volumes, 1 filesystem, 3 directories, 41 files',
  });
  const lines = parse(stdout);
  expect(lines.map(({ start }) => start)).toEqual(lines.map(({ start }) => start).sort((a, b) => a - b));
  const inRoot = lines.filter(({ device, kind }) => device === '/dev/sda1' && kind !== 'p');
  expect([...rangesOf(inRoot)]).toEqual([{ offset: BigInt(rootOffset), length: BigInt(rootSize) }]);
  const free = rangesOf(inRoot.filter(({ kind }) => kind === 'u'));
  expect(free.total).toBeGreaterThan(10n << 20n);
  expect([...free.intersect(rangesOf(inRoot.filter(({ kind }) => kind !== 'u')))]).toEqual([]);
  for (const path of ['/', '/kept-0', '/kept-7', '/zeros']) {
    const blocks = (await run('debugfs', ['-R', `blocks ${path}`, root])).split(/\s+/).filter((word) => word !== '');
    const own = lines.filter((line) => line.path === path && (line.kind === 'f' || line.kind === 'd'));
    const ours = own.flatMap(({ start, end }) =>
      Array.from({ length: (end - start) / 4096 }, (_, i) => (start - rootOffset) / 4096 + i),
    );
    expect(
      ours.sort((a, b) => a - b),
      path,
    ).toEqual(blocks.map(Number).sort((a, b) => a - b));
  }
  expect(lines.filter(({ kind }) => kind === 's')).toMatchObject([{ device: '/dev/sda2' }]);
});

const small = needs({ programs: ['mke2fs'] });

async function smallImage(): Promise<{ path: string; folder: string }> {
  const folder = await temporaryFolder();
  const [root, path] = [join(folder, 'root'), join(folder, 'disk.img')];
  mkdirSync(root);
  writeFileSync(join(root, 'a\nname'), 'x'.repeat(5000));
  linkSync(join(root, 'a\nname'), join(root, 'again'));
  await run('mke2fs', ['-Fq', '-t', 'ext4', '-b', '1024', '-d', root, path, '8M']);
  return { path, folder };
}

small('each name has its line, whatever it is', async () => {
  const { path } = await smallImage();
  const { stdout } = await disktool(['bmap', '--quiet', path]);
  const files = parse(stdout).filter(({ kind }) => kind === 'f');
  expect(files.map(({ path }) => path).sort()).toEqual(['/a\\x0aname', '/again']);
  expect(files[0]?.start).toBe(files[1]?.start);
  const json = JSON.parse((await disktool(['bmap', '--quiet', '--json', path])).stdout);
  expect(json).toMatchObject({ counts: { files: 2, directories: 2, filesystems: 1, partitions: 0 }, leftOut: [] });
  expect(json.lines).toHaveLength(parse(stdout).length);
  expect(json.lines[0]).toEqual({ disk: 1, start: 0, end: 8 << 20, kind: 'v', device: '/dev/sda' });
  expect(json.lines.filter((line: Line) => line.path === '/a\nname')).toHaveLength(1);
});

small('writes a file whole or not at all, and over none unless told', async () => {
  const { path, folder } = await smallImage();
  const map = join(folder, 'map');
  expect(await disktool(['bmap', '--quiet', path, '-o', map])).toMatchObject({ status: 0, stdout: '' });
  const written = readFileSync(map, 'utf8');
  expect(written).toBe(`${(await disktool(['bmap', '--quiet', path])).stdout}\n`);
  expect(await disktool(['bmap', '--quiet', path, '-o', map])).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('is there already'),
  });
  expect(await disktool(['bmap', '--quiet', path, '-o', map, '--force'])).toMatchObject({ status: 0 });
  expect(readFileSync(map, 'utf8')).toBe(written);
  expect(await disktool(['bmap', '--quiet', `${path}.none`, '-o', `${map}.2`])).toMatchObject({ status: 1 });
  expect(existsSync(`${map}.2`)).toBe(false);
  expect(await disktool(['bmap', '--quiet', path, '-o', folder])).toMatchObject({ status: 2 });
});

small('a filesystem that cannot be believed is left out, and told', async () => {
  const { path } = await smallImage();
  await patchSuperblock(path, { s_state: 0 });
  const { status, stdout, stderr } = await disktool(['bmap', path]);
  expect({ status, stdout }).toEqual({ status: 3, stdout: '1 0 800000 v /dev/sda' });
  expect(stderr).toContain('is mapped no further: ext4 on');
});

needs({ programs: ['mke2fs', 'debugfs'] })(
  'what is damaged is left out, told, and takes nothing else with it',
  async () => {
    const folder = await temporaryFolder();
    const [root, path] = [join(folder, 'root'), join(folder, 'disk.img')];
    for (const name of ['a', 'b', 'c']) {
      mkdirSync(join(root, name), { recursive: true });
      writeFileSync(join(root, name, 'file'), name.repeat(5000));
    }
    const features = '^metadata_csum,^metadata_csum_seed';
    await run('mke2fs', ['-Fq', '-t', 'ext4', '-b', '1024', '-O', features, '-d', root, path, '8M']);
    await damageInode(path, '/a/file');
    await damageDirectory(path, '/b');
    const { status, stdout, stderr } = await disktool(['bmap', '--progress', 'none', path]);
    expect({ status, stderr: stderr.split('\n') }).toEqual({
      status: 3,
      stderr: [
        expect.stringMatching(/^disktool: warning: \/a\/file of \/dev\/sda is not mapped: .*i_mode is 0x0/),
        expect.stringMatching(/^disktool: warning: \/b of \/dev\/sda: what else is in it is left out: /),
        'disktool: 0 partitions, 0 logical volumes, 1 filesystem, 5 directories, 1 file',
      ],
    });
    const paths = parse(stdout).filter(({ kind }) => 'fd'.includes(kind));
    expect([...new Set(paths.map(({ path }) => path))].sort()).toEqual([
      '/',
      '/a',
      '/b',
      '/c',
      '/c/file',
      '/lost+found',
    ]);
    const json = JSON.parse((await disktool(['bmap', '--quiet', '--json', path])).stdout);
    expect(json.leftOut).toMatchObject([{ device: '/dev/sda', path: '/a/file' }, { path: '/b' }]);
  },
);

needs({ ...lvmNeeds, slow: true })(
  'files of a logical volume in pieces are where the disk has their bytes',
  async () => {
    const disk = await lvmDisk(lvmVariants['segments of both kinds on two physical volumes'] ?? { commands: [] });
    await fillLogical(disk, 'fs1', 'root');
    const { status, stdout, stderr } = await disktool(['bmap', '--free', '--progress', 'none', disk.image]);
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr: 'disktool: 2 partitions, 2 logical volumes, 1 filesystem, 2 directories, 9 files',
    });
    const lines = parse(stdout).filter(({ device }) => device === '/dev/vg/fs1');
    const within = lines.filter(({ kind }) => kind !== 'p');
    expect([...rangesOf(within)]).toEqual([...rangesOf(lines.filter(({ kind }) => kind === 'p'))]);
    const bytes = readFileSync(disk.image);
    const files = within.filter(({ kind, path }) => kind === 'f' && path.startsWith('/file-'));
    expect(new Set(files.map(({ path }) => path)).size).toBe(9);
    for (const { start, end, path } of files) {
      const number = path.slice('/file-'.length);
      for (let at = start; at < end; at += 1024) {
        expect(bytes.toString('latin1', at, at + 1024), `${path} at ${at}`).toContain(`fs1 ${number}, `);
      }
    }
    expect(Number(rangesOf(files).total)).toBe(9 * 98 * 1024);
    for (const number of [0, 5]) {
      await using file = await openFileOnDisk(disk.image, 'vg/fs1', `/file-${number}`, {}, {});
      const parts: Buffer[] = [];
      for await (const { role, diskOffset, length, fileOffset } of file.extents()) {
        if (role !== 'content') continue;
        expect(Number(fileOffset)).toBe(Buffer.concat(parts).length);
        parts.push(bytes.subarray(Number(diskOffset), Number(diskOffset + length)));
      }
      const size = 100_000 + number;
      expect(Buffer.concat(parts).subarray(0, size)).toEqual(Buffer.alloc(size, `fs1 ${number}, `));
    }
    const offsets = files.map(({ start }) => BigInt(start + 13));
    for (const { offset, owners } of (await ownersOf(disk.image, offsets, {}, {})).bytes) {
      const file = owners.at(-1);
      expect(owners.map(({ kind }) => kind)).toEqual(['v', 'p', 'p', 'f']);
      expect(owners[2]?.device).toBe('/dev/vg/fs1');
      const text = `fs1 ${file?.path?.toString().slice('/file-'.length)}, `;
      expect(text[Number(file?.fileOffset) % text.length]).toBe(
        bytes.toString('latin1', Number(offset), Number(offset) + 1),
      );
    }
  },
);
