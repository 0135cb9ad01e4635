import { linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { needs } from '../support/needs.js';
import { attempt, disktool, disktoolPath, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['mke2fs', 'sfdisk', 'qemu-io'] });

/** A disk of one ext4 partition, with three files that debugfs finds. */
async function tracedDisk() {
  const folder = await temporaryFolder();
  const [root, fs, disk] = [join(folder, 'root'), join(folder, 'fs.img'), join(folder, 'disk.img')];
  mkdirSync(join(root, 'etc'), { recursive: true });
  for (const name of ['init', 'libc', 'etc/hosts']) writeFileSync(join(root, name), name.repeat(40_000));
  // The walk comes to /etc before.
  linkSync(join(root, 'etc', 'hosts'), join(root, 'hosts'));
  writeFileSync(join(root, 'two\nlines'), 'x'.repeat(5000));
  await run('mke2fs', ['-Fq', '-t', 'ext4', '-b', '4096', '-d', root, fs, '16M']);
  await run('sh', ['-c', `truncate -s 18M ${disk}; echo 'start=2048,size=32768,type=83' | sfdisk -q ${disk}`]);
  await run('dd', [`if=${fs}`, `of=${disk}`, 'bs=1M', 'seek=1', 'conv=notrunc,sparse', 'status=none']);
  const blockOf = async (path: string) => {
    const first = (await run('debugfs', ['-R', `blocks ${path}`, fs])).trim().split(/\s+/)[0];
    return Number(first) * 4096 + (1 << 20);
  };
  return { folder, disk, blockOf };
}

/** What qemu-io does to the disk, traced on standard error. */
async function traced(args: readonly string[], commands: readonly string[]): Promise<string[]> {
  const io = `qemu-io -f raw ${commands.map((command) => `-c '${command}'`).join(' ')} $nbd >/dev/null`;
  const script = `exec "$@" --run '${io.replaceAll("'", `'\\''`)}' 2>&1`;
  const serve = [process.execPath, disktoolPath, 'serve', ...args];
  return (await run('sh', ['-c', script, 'sh', ...serve])).split('\n').filter((line) => line !== '');
}

it('names each run of accesses, and calls what the guest has written by no older name', async () => {
  const { disk, blockOf } = await tracedDisk();
  const [init, libc] = [await blockOf('/init'), await blockOf('/libc')];
  const lines = await traced(
    ['--trace', disk],
    [
      `read ${init} 4k`,
      `read ${init + 8192} 8k`,
      `read ${libc} 4k`,
      `write ${libc} 4k`,
      `read ${libc} 4k`,
      `read ${libc + 4096} 4k`,
      'read 0 512',
    ],
  );
  // QEMU looks at the first bytes of what it opens.
  expect(lines.filter((line) => !line.endsWith(' v /dev/sda'))).toEqual([
    'read f /dev/sda1 /init',
    'read f /dev/sda1 /libc',
    'write f /dev/sda1 /libc',
    'read w /dev/sda1',
    'read f /dev/sda1 /libc',
  ]);
  expect(lines.at(-1)).toBe('read v /dev/sda');
});

it('writes each run in a row as JSON, and sums up what was read of what, by a map made before', async () => {
  const { folder, disk, blockOf } = await tracedDisk();
  const [init, libc, lines] = [await blockOf('/init'), await blockOf('/libc'), await blockOf('/two\nlines')];
  const [map, trace, list] = ['map', 'trace', 'list'].map((name) => join(folder, name));
  await disktool(['bmap', '--quiet', '--output', map ?? '', disk]);
  const flags = ['--map', map, '--trace-file', trace, '--trace-format', 'json', '--readahead-list', list];
  const places = [
    `read ${libc} 4k`,
    `read ${libc + 4096} 4k`,
    `read ${libc} 512`,
    `read ${init} 4k`,
    `read ${lines} 4k`,
  ];
  const io = ['-r', '-f', 'raw', ...places.flatMap((place) => ['-c', place])].map((word) => `'${word}'`).join(' ');
  const command = `qemu-io ${io} "$nbd" >/dev/null`;
  const args = ['serve', ...flags.map(String), '--read-only', '--trace-summary', '--json', '--run', command, disk];
  const { status, stdout, stderr } = await attempt(process.execPath, [disktoolPath, ...args]);
  expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  const runs = readFileSync(trace ?? '', 'utf8')
    .trim()
    .split('\n');
  const told = runs.map((line): { time: number; kind: string } => JSON.parse(line)).filter(({ kind }) => kind === 'f');
  const common = { operation: 'read', kind: 'f', device: '/dev/sda1' };
  expect(told).toMatchObject([
    { ...common, path: '/libc', offset: libc, length: 8192 },
    { ...common, path: '/libc', offset: libc, length: 512 },
    { ...common, path: '/init', offset: init, length: 4096 },
    { ...common, path: '/two\nlines', offset: lines, length: 4096 },
  ]);
  expect(Math.abs((told[0]?.time ?? 0) - Date.now() / 1000)).toBeLessThan(600);
  // The list has no way to say a newline: that file is warned of.
  expect(readFileSync(list ?? '', 'utf8')).toBe('/libc\n/init\n');
  expect(stderr).toContain('left out 1 of the files: a newline in a name cannot be listed');
  const summary: unknown = JSON.parse(stderr.slice(stderr.indexOf('{\n')));
  expect(summary).toMatchObject({ export: '', size: 18 << 20, requests: { write: 0 } });
  const counts = { kind: 'f', device: '/dev/sda1', writes: 0, bytesWritten: 0 };
  expect(summary).toMatchObject({
    objects: expect.arrayContaining([
      expect.objectContaining({ ...counts, path: '/libc', reads: 3, bytesRead: 8704, distinctRead: 8192 }),
      expect.objectContaining({ ...counts, path: '/init', reads: 1, bytesRead: 4096, distinctRead: 4096 }),
    ]),
  });
});

it('traces a part of the disk by the places that it has on the disk', async () => {
  const { disk, blockOf } = await tracedDisk();
  const place = (await blockOf('/libc')) - (1 << 20);
  const read = [`read ${place} 4k`];
  expect(await traced(['--trace', '--partition', '/dev/sda1', disk], read)).toContain('read f /dev/sda1 /libc');
  const range = ['--range', `${place + (1 << 20)}+8k`];
  expect(await traced(['--trace', ...range, '--file', disk], ['read 0 4k'])).toEqual(['read f /dev/sda1 /libc']);
});

it('makes requests fail or wait that touch the blocks of some files, and no others', async () => {
  const { disk, blockOf } = await tracedDisk();
  const [init, hosts] = [await blockOf('/init'), await blockOf('/etc/hosts')];
  const io = (at: number) => `qemu-io -r -f raw -c 'read ${at} 4k' $nbd`;
  const both = `${io(init)}; a=$?; ${io(hosts)}; echo $a $?`;
  const wrong = ['--error-path', 'vda1:/etc/h*', '--error-read-rate', '1', '--errno', 'ENOSPC'];
  const { stdout } = await disktool(['serve', disk, '--read-only', ...wrong, '--run', both]);
  expect(stdout.split('\n').at(-1)).toBe('0 1');
  expect(stdout).toContain('read failed: No space left on device');
  // Nothing but the files that are named waits for an hour.
  const slow = ['--delay-path', '/etc/**', '--delay', '1h'];
  const quick = await disktool(['serve', disk, '--read-only', ...slow, '--run', io(init)]);
  expect(quick.stdout).toContain('read 4096/4096');
});

it('tells the lines and sums of several exports apart by their names', async () => {
  const { disk, blockOf } = await tracedDisk();
  const place = await blockOf('/libc');
  const args = ['serve', '--read-only', '--trace', '--trace-summary', '--export', `a=${disk}`, '--export', `b=${disk}`];
  const command = `qemu-io -r -f raw -c 'read ${place} 4k' "\${nbd%a}b" >/dev/null`;
  const { stderr } = await disktool([...args, '--run', command]);
  expect(stderr).toContain('"b" read f /dev/sda1 /libc\n');
  expect(stderr).toContain('Export a\n0 reads');
});

const refused: readonly (readonly [args: readonly string[], message: string])[] = [
  [['--error-path', '/nothing', '--error-rate', '1'], 'disk.img that has blocks of its own matches /nothing'],
  [['--error-path', '/etc', '--error-rate', '1'], 'disk.img, and has no blocks of its own (it is empty, a directory'],
  [['--error-path', '/dev/sda9:/etc/*', '--error-rate', '1'], 'disk.img has no /dev/sda9'],
  [['--error-path', 'etc/*', '--error-rate', '1'], 'write it from the root of its filesystem'],
  [['--error-path', '/etc/*'], 'which requests are to fail?'],
  [['--delay-path', '/etc/*'], 'how long are requests to wait?'],
  [['--range', '0+1M', '--delay-path', '/etc/*', '--delay', '1'], 'lie outside what is served'],
  [['--trace-format', 'json'], '--trace-format goes with --trace'],
  [['--trace', '--json'], 'give --trace-file'],
  [['--map', 'FOLDER/map'], '--map goes with --trace'],
  [['--map', 'FOLDER/none', '--trace'], 'no such file'],
  [['--map', 'FOLDER/other', '--trace'], 'it is the map of another disk'],
  [['--map', 'FOLDER/map', '--trace', '--export', 'a=FOLDER/disk.img'], '--map is the map of one disk'],
  [['--map', 'FOLDER/map', '--trace', '--trace-file', 'FOLDER/map'], 'is there already'],
  [['--readahead-list', 'FOLDER/map'], 'is there already'],
  [['--readahead-list', '/dev/sdb1:FOLDER/list'], 'disk.img has no /dev/sdb1'],
];

it('refuses what no file has blocks for, what does not go together, and a map that does not fit', async () => {
  const { folder, disk } = await tracedDisk();
  writeFileSync(join(folder, 'map'), '1 0 1200000 v /dev/sda\n');
  writeFileSync(join(folder, 'other'), '1 0 1200200 v /dev/sda\n');
  const outcomes = refused.map(async ([args, message]) => {
    const flags = args.map((text) => text.replace('FOLDER', folder));
    const { status, stdout, stderr } = await disktool([
      'serve',
      '-r',
      disk,
      ...flags,
      '--socket',
      join(folder, 'socket'),
    ]);
    return { args, found: `${stdout}${stderr}`.includes(message) ? message : stderr, failed: status !== 0 };
  });
  expect(await Promise.all(outcomes)).toEqual(
    refused.map(([args, message]) => ({ args, found: message, failed: true })),
  );
});
