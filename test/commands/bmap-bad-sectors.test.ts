import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { nbdfuse } from '../support/nbdfuse.js';
import { needs } from '../support/needs.js';
import { namesAt, type OwnedDisk, ownedDisk, ownedDiskPrograms } from '../support/owned-disk.js';
import { attempt, disktool, run } from '../support/run.js';

const it = needs({ programs: ownedDiskPrograms });

interface Told {
  readonly bad: number;
  readonly files: { device: string; paths: { path: string }[]; type: string; content: number; metadata: number }[];
  readonly places: { kind: string; device: string; what?: string; bytes: number }[];
}

async function damage(image: string, list: string, ...flags: string[]): Promise<Told> {
  const { stdout } = await disktool(['bmap', '--quiet', '--json', image, '--bad-sectors', list, ...flags]);
  return JSON.parse(stdout);
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

/** Blocks that debugfs finds files at, in steps, and what it finds there. */
async function someBlocks({ root, rootSize }: OwnedDisk, step: number): Promise<Map<number, string[]>> {
  const found = await namesAt(
    root,
    Array.from({ length: rootSize / 1024 - 1 }, (_, i) => i + 1),
  );
  return new Map([...found].filter(([, names]) => names.length > 0).filter((_, i) => i % step === 0));
}

it('names each file that debugfs finds at a bad block once, with how much of it is bad', async () => {
  const disk = await ownedDisk();
  const { image, folder, rootOffset } = disk;
  const blocks = await someBlocks(disk, 3);
  const list = join(folder, 'list');
  writeFileSync(
    list,
    [...blocks.keys()]
      .map((block) => `${rootOffset / 1024 + block}\n`)
      .reverse()
      .join(''),
  );
  const { bad, files, places } = await damage(image, list, '--sector-size', '1K');
  expect(bad).toBe(blocks.size * 1024);
  const theirs = new Map<string, number>();
  for (const names of blocks.values()) {
    const key = names.sort().join();
    theirs.set(key, (theirs.get(key) ?? 0) + 1024);
  }
  const ours = new Map(files.map((file) => [file.paths.map(({ path }) => path).join(), file]));
  expect(ours.size).toBe(files.length);
  for (const [names, bytes] of theirs) {
    // Less where a file ends amid its last block, or has blocks that were never written.
    const { content = 0, metadata = 0 } = ours.get(names) ?? {};
    expect(bytes - content - metadata, names).toBeGreaterThanOrEqual(0);
    if (names !== '/unwritten') expect(bytes - content - metadata, names).toBeLessThan(1024);
  }
  expect([...ours.keys()].filter((names) => !theirs.has(names))).toEqual([]);
  expect(files.map(({ paths }) => paths[0]?.path)).toEqual(files.map(({ paths }) => paths[0]?.path).sort());
  expect(ours.get('/again,/etc/passwd')).toMatchObject({ type: 'file', device: '/dev/sda1' });
  const unread = places.filter(({ kind }) => kind === 'unread').map(({ bytes }) => bytes);
  expect(sum(files.map(({ content, metadata }) => content + metadata)) + sum(unread)).toBe(bad);
  expect(places.map(({ kind }) => kind)).toEqual(['unread']);
});

it('tells what else is hit, and what a list is that does not fit', async () => {
  const disk = await ownedDisk();
  const { image, folder, root, rootOffset, size } = disk;
  const dump = await run('dumpe2fs', [root]);
  const place = (pattern: RegExp) => rootOffset + Number(pattern.exec(dump)?.[1]) * 1024;
  const imap = await run('debugfs', ['-R', 'imap /small', root]);
  const [, block, offset] = /block (\d+), offset (0x[0-9a-f]+)/.exec(imap) ?? [];
  const list = join(folder, 'list');
  const places = {
    '/dev/sda1 metadata: superblock': place(/Primary superblock at (\d+)/),
    '/dev/sda1 metadata: inodes': rootOffset + Number(block) * 1024 + Number(offset),
    '/dev/sda1 free space: nothing is lost': place(/Free blocks: (\d+)/),
    '/dev/sda the partition table': 0,
    '/dev/sda1 nobody: it is behind the end of the ext4': 20 << 20,
    '/dev/sda5 nobody: /dev/sda5 holds crypto_LUKS, of which nothing is mapped': 28 << 20,
    '/dev/sda nobody: it is in no partition': size - 1,
  };
  writeFileSync(list, Object.values(places).join('\n'));
  const { status, stdout, stderr } = await disktool(['bmap', '--progress', 'none', image, '--bad-sectors', list]);
  const [head, small, none, heading, ...rest] = stdout.split('\n');
  expect({ status, stderr }).toEqual({
    status: 3,
    stderr:
      'disktool: warning: /dev/sda5 is mapped no further: it holds crypto_LUKS\n' +
      'disktool: 2 damaged files; 3584 bad bytes in 7 ranges',
  });
  expect(head).toBe('       Bytes  Damaged');
  // Two inodes lie in a sector of 512 bytes.
  expect(small).toMatch(/^ {9}256 {2}\/dev\/sda1 \/\S+ \(its metadata\)$/);
  expect(none).toMatch(/^ {9}256 {2}\/dev\/sda1 \/small \(\d+ of its metadata\)$/);
  expect([heading, rest.shift()]).toEqual(['', '       Bytes  Elsewhere']);
  expect(rest.sort()).toEqual(
    Object.keys(places)
      .map((what) => `         512  ${what}`)
      .sort(),
  );
  writeFileSync(list, `0\n${size}\n1\n`);
  expect(await disktool(['bmap', '--quiet', image, '--bad-sectors', list])).toMatchObject({
    status: 2,
    stdout: '',
    stderr: expect.stringContaining(`list, line 2: byte ${size} is past the end of`),
  });
  const maps: [string, string][] = [
    [`0 + 1\n0 ${size} +\n${size} 512 -\n`, `the map goes on to byte ${size + 512}, and`],
    ['0 + 1\n0 0x200 -\n', 'nothing is known of what lies behind byte 512 of'],
  ];
  for (const [input, words] of maps) {
    const args = ['bmap', '--progress', 'none', image, '--bad-sectors', '-'];
    const outcome = await disktool(args, { stdin: 'pipe', input });
    expect(outcome, words).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('no file is damaged'),
      stderr: expect.stringContaining(words),
    });
  }
  const wrong: [string[], string][] = [
    [['--statuses', 'x'], '"x" are no statuses'],
    [['--statuses=-', '--at', '1'], 'do not go together'],
    [['--output', 'x'], 'do not go together'],
  ];
  for (const [flags, words] of wrong) {
    const outcome = await disktool(['bmap', '--quiet', image, '--bad-sectors', list, ...flags]);
    expect(outcome, words).toMatchObject({ status: 2, stderr: expect.stringContaining(words) });
  }
  expect(await disktool(['bmap', image, '--sector-size', '512'])).toMatchObject({ status: 2 });
});

needs({
  programs: [...ownedDiskPrograms, 'ddrescue', 'ddrescuelog', 'nbdkit', 'nbdfuse', 'fusermount3'],
  root: true,
  devices: ['/dev/fuse'],
  slow: true,
})('names the files that ddrescue could not read of a failing disk', async () => {
  const disk = await ownedDisk();
  const { image, folder, rootOffset, size } = disk;
  // Bad pages of 4 KiB: what the kernel reads at a time through FUSE.
  const pages = new Set([...(await someBlocks(disk, 40)).keys()].map((block) => (rootOffset / 1024 + block) >> 2));
  const failing = join(folder, 'failing');
  const lines = Array.from({ length: size / 4096 }, (_, i) => `${i * 4096} 4096 ${pages.has(i) ? '-' : '+'}\n`);
  writeFileSync(failing, `0 + 1\n${lines.join('')}`);
  const [socket, copy, map] = [join(folder, 'socket'), join(folder, 'copy.img'), join(folder, 'rescue.map')];
  mkdirSync(join(folder, 'pid'));
  const pid = join(folder, 'pid/nbdkit');
  const filter = ['--filter=ddrescue', 'file', image, `ddrescue-mapfile=${failing}`];
  await run('nbdkit', ['--readonly', '--unix', socket, '--pidfile', pid, ...filter]);
  try {
    const { file, unmount } = await nbdfuse(`nbd+unix:///?socket=${socket}`, 'ignore');
    await attempt('ddrescue', ['--quiet', '--sector-size=512', file, copy, map]);
    await unmount();
  } finally {
    process.kill(Number(readFileSync(pid, 'utf8')));
  }
  await run('ddrescuelog', ['-t', map]);
  const { bad, files } = await damage(image, map);
  expect(bad).toBe(pages.size * 4096);
  const blocks = [...pages].flatMap((page) => [0, 1, 2, 3].map((i) => page * 4 + i - rootOffset / 1024));
  const theirs = [...(await namesAt(disk.root, blocks)).values()].filter((names) => names.length > 0);
  // Files whose inodes alone lie in such a page are told as well.
  const ours = files.filter(({ content }) => content > 0).map(({ paths }) => paths[0]?.path);
  expect(ours.length).toBeGreaterThan(3);
  const expected = new Set(theirs.map((names) => names.sort()[0]));
  // A file of which but the room behind its end, or what was never written, is hit has lost nothing.
  // ncheck has no name for the root.
  for (const name of ours.filter((name) => name !== '/')) expect([...expected]).toContain(name);
  expect(expected.size - ours.length).toBeLessThanOrEqual(2);
});
