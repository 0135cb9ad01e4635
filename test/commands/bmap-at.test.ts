import { expect } from 'vitest';
import { type OwnersOfByte, ownersOf } from '../../src/task/block-map/owners.js';
import { needs } from '../support/needs.js';
import { namesAt, ownedDisk, ownedDiskPrograms } from '../support/owned-disk.js';
import { disktool, run } from '../support/run.js';

const it = needs({ programs: ownedDiskPrograms });

async function ownersAt(image: string, ...offsets: number[]): Promise<readonly OwnersOfByte[]> {
  return (await ownersOf(image, offsets.map(BigInt), {}, {})).bytes;
}

function pathsOf({ owners }: OwnersOfByte): string[] {
  return owners.filter(({ kind }) => kind === 'f' || kind === 'd').map(({ path }) => `${path}`);
}

const MiB = 1 << 20;

it('names each file that debugfs finds at a block, by all its names, and which byte of it', async () => {
  const { image, root, rootOffset, rootSize } = await ownedDisk();
  const blocks = Array.from({ length: rootSize / 1024 - 1 }, (_, i) => i + 1);
  const expected = await namesAt(root, blocks);
  const found = await ownersAt(image, ...blocks.map((block) => rootOffset + block * 1024 + 500));
  for (const [i, byte] of found.entries()) {
    const [block = 0, own] = [blocks[i], byte.owners.filter(({ metadata }) => metadata !== 'inode')];
    // What debugfs takes for a file's is its metadata too: blocks of its map.
    const names = own.filter(({ path }) => path !== undefined).map(({ path }) => `${path}`);
    const theirs = expected.get(block) ?? [];
    if (theirs.length > 0 && own.every(({ metadata }) => metadata !== 'journal')) {
      expect(names.sort(), `block ${block}`).toEqual(theirs.sort());
    }
    expect(own.slice(0, 2), `block ${block}`).toEqual([
      { kind: 'v', device: '/dev/sda', deviceOffset: byte.offset },
      { kind: 'p', device: '/dev/sda1', deviceOffset: byte.offset - BigInt(rootOffset) },
    ]);
    expect(own.length, `block ${block}`).toBeGreaterThan(2);
  }
  const all = new Set(found.flatMap(pathsOf));
  for (const name of ['/', '/etc', '/etc/passwd', '/again', '/pieces', '/unwritten']) expect(all).toContain(name);
  const blocksOf = async (path: string) => (await run('debugfs', ['-R', `blocks ${path}`, root])).trim().split(/\s+/);
  const [first, second] = (await blocksOf('/again')).map((block) => rootOffset + Number(block) * 1024);
  const bytes = await ownersAt(image, (second ?? 0) + 7, first ?? 0, (first ?? 0) + 3072 + 500);
  expect(bytes.map(({ owners }) => owners.slice(2).map(({ path, fileOffset }) => [`${path}`, fileOffset]))).toEqual([
    [
      ['/again', 1031n],
      ['/etc/passwd', 1031n],
    ],
    [
      ['/again', 0n],
      ['/etc/passwd', 0n],
    ],
    [
      ['/again', 3572n],
      ['/etc/passwd', 3572n],
    ],
  ]);
  // 300 lines of 11 bytes.
  expect(bytes[2]?.owners.at(-1)).toMatchObject({ unread: 'past-end' });
  const [, never] = await blocksOf('/unwritten');
  const [unwritten] = await ownersAt(image, rootOffset + Number(never) * 1024);
  expect(unwritten?.owners.at(-1)).toMatchObject({ path: Buffer.from('/unwritten'), unread: 'unwritten' });
});

it('tells metadata by its kind, free space, and what lies within an inode', async () => {
  const { image, root, rootOffset } = await ownedDisk();
  const dump = await run('dumpe2fs', [root]);
  const place = (pattern: RegExp) => rootOffset + Number(pattern.exec(dump)?.[1]) * 1024;
  const [, block, offset] =
    /block (\d+), offset (0x[0-9a-f]+)/.exec(await run('debugfs', ['-R', 'imap /small', root])) ?? [];
  const inode = rootOffset + Number(block) * 1024 + Number(offset);
  const free = place(/Free blocks: (\d+)/g);
  const found = await ownersAt(
    image,
    place(/Primary superblock at (\d+)/),
    place(/Block bitmap at (\d+)/),
    place(/Inode table at (\d+)/),
    inode,
    inode + 40,
    free,
  );
  const told = found.map(({ owners }) =>
    owners.slice(2).map(({ kind, metadata, path, fileOffset }) => [kind, metadata ?? fileOffset, path?.toString()]),
  );
  expect(told).toEqual([
    [['m', 'superblock', undefined]],
    [['m', 'bitmap', undefined]],
    [['m', 'inodes', undefined]],
    [
      ['m', 'inodes', undefined],
      ['m', 'inode', '/small'],
    ],
    [
      ['m', 'inodes', undefined],
      ['f', 0n, '/small'],
    ],
    [['u', undefined, undefined]],
  ]);
});

it('says why nobody has a byte, and refuses one past the end', async () => {
  const { image, size } = await ownedDisk();
  const places: [number, string, string, string][] = [
    [0, '/dev/sda', 'partition-table', 'the partition table'],
    [5000, '/dev/sda', 'unpartitioned', 'before the first partition'],
    [20 * MiB, '/dev/sda1', 'unused', 'behind the end of the ext4'],
    [21 * MiB + 1, '/dev/sda', 'unpartitioned', 'in no partition'],
    [22 * MiB, '/dev/sda2', 'unmapped', 'nothing in /dev/sda2 is recognised'],
    [27 * MiB, '/dev/sda3', 'partition-table', 'the partition table'],
    [27 * MiB + 5000, '/dev/sda3', 'unpartitioned', 'in no logical partition'],
    [28 * MiB, '/dev/sda5', 'unmapped', '/dev/sda5 holds crypto_LUKS'],
    [size - 1, '/dev/sda', 'unpartitioned', 'in no partition'],
  ];
  const args = ['bmap', '--quiet', image, '--at', places.map(([offset]) => `${offset}`).join(',')];
  const json = await disktool([...args, '--json']);
  expect(json.status).toBe(3);
  const { bytes, leftOut } = JSON.parse(json.stdout);
  expect(leftOut).toEqual([{ device: '/dev/sda5', reason: 'it holds crypto_LUKS' }]);
  for (const [i, [offset, device, kind, words]] of places.entries()) {
    const { owners, unowned } = bytes[i];
    expect({ device: owners.at(-1).device, offset: bytes[i].offset, unowned }).toEqual({
      device,
      offset,
      unowned: { kind, reason: expect.stringContaining(words) },
    });
  }
  const { status, stdout } = await disktool(['bmap', '--quiet', image, '--at', '0x1600000,42s']);
  expect({ status, stdout: stdout.split('\n') }).toEqual({
    status: 0,
    stdout: [
      'byte 23068672 (0x1600000, sector 45056)',
      '  v  /dev/sda   byte 23068672',
      '  p  /dev/sda2  byte 0',
      '  nobody: nothing in /dev/sda2 is recognised',
      '',
      'byte 21504 (0x5400, sector 42)',
      '  v  /dev/sda  byte 21504',
      '  nobody: it is before the first partition, where boot loaders lie',
    ],
  });
  const refusals: [string[], string][] = [
    [['--at', '48M'], 'byte 50331648 is past the end of'],
    [['--at', '1,,2'], '"" is no size'],
    [['--at', '1', '--output', 'x'], 'do not go together'],
  ];
  for (const [flags, words] of refusals) {
    expect(await disktool(['bmap', '--quiet', image, ...flags]), words).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining(words),
    });
  }
});
