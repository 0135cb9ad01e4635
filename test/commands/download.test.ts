import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { allocatedSize, filesOf, guestDiskPrograms, makeGuestDisk } from '../support/guest-disk.js';
import { guestImage, guestUuids } from '../support/guest-image.js';
import { loopDevice } from '../support/loop-device.js';
import { needs } from '../support/needs.js';
import { attempt, disktoolHere, disktoolPath, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: guestDiskPrograms });
const MiB = 1 << 20;

/** What dd cuts out of a disk, in whole MiB. */
async function cut(image: string, skip: number, count: number): Promise<string> {
  const path = `${image}.cut`;
  await run('dd', [`if=${image}`, `of=${path}`, 'bs=1M', `skip=${skip}`, `count=${count}`, 'status=none']);
  return path;
}

it('copies a partition byte for byte, by every way of naming it', async () => {
  const image = await guestImage();
  const expected = await cut(image, 1, 32);
  const partuuid = (await run('sfdisk', ['--part-uuid', image, '1'])).toLowerCase();
  const names = ['/dev/sda1', 'nvme0n1p1', '1', 'LABEL=root'];
  for (const name of [...names, `UUID=${guestUuids.root}`, `PARTUUID=${partuuid}`]) {
    const out = join(dirname(image), `out-${names.indexOf(name)}`);
    expect(await disktoolHere(['download', '--quiet', '--force', image, name, out]), name).toMatchObject({ status: 0 });
    await run('cmp', [expected, out]);
  }
});

it('copies the whole disk, and another partition to standard output', async () => {
  const image = await guestImage();
  const out = join(dirname(image), 'out');
  expect(await disktoolHere(['download', '--quiet', image, '/dev/sda', out])).toMatchObject({ status: 0 });
  await run('cmp', [image, out]);
  await run('sh', [
    '-c',
    '"$0" "$1" download "$2" LABEL=swp - > "$3"',
    process.execPath,
    disktoolPath,
    image,
    `${out}.swap`,
  ]);
  await run('cmp', [await cut(image, 34, 8), `${out}.swap`]);
});

it('makes a file no larger than dd conv=sparse does, that e2fsck finds clean', async () => {
  const { image, rootSize } = await makeGuestDisk();
  const [ours, theirs] = [`${image}.ours`, `${image}.theirs`];
  const { status, stdout } = await disktoolHere(['download', '--json', image, '/dev/sda1', ours]);
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ device: '/dev/sda1', offset: MiB, size: rootSize });
  await run('dd', [
    `if=${image}`,
    `of=${theirs}`,
    'bs=1M',
    'skip=1',
    `count=${rootSize / MiB}`,
    'conv=sparse',
    'status=none',
  ]);
  await run('cmp', [ours, theirs]);
  expect(await allocatedSize(ours)).toBeLessThanOrEqual(await allocatedSize(theirs));
  await run('e2fsck', ['-fn', ours]);
});

it('refuses names that are not there or not of one partition, and leaves no file', async () => {
  const image = await guestImage();
  const out = join(dirname(image), 'out');
  expect(await disktoolHere(['download', image, '/dev/sda9', out])).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('/dev/sda1'),
  });
  expect(await disktoolHere(['download', image, 'LABEL=nobody', out])).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('nobody'),
  });
  await expect(stat(out)).rejects.toMatchObject({ code: 'ENOENT' });
  await writeFile(out, 'precious');
  expect(await disktoolHere(['download', image, '1', out])).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('is there already'),
  });
  expect(await readFile(out, 'utf8')).toBe('precious');
});

needs({ programs: [...guestDiskPrograms, 'losetup'], root: true })(
  'reads a block device as it reads a file',
  async () => {
    const image = await guestImage();
    const { path: loop } = await loopDevice(image, '--read-only');
    const out = join(dirname(image), 'out');
    expect(await disktoolHere(['download', '--quiet', loop, '/dev/sda1', out])).toMatchObject({ status: 0 });
    await run('cmp', [await cut(image, 1, 32), out]);
    expect(await disktoolHere(['filesystems', loop])).toMatchObject({ status: 0, stdout: '/dev/sda1' });
    expect(await disktoolHere(['copy', '--quiet', loop, `${out}.disk`])).toMatchObject({ status: 0 });
    await run('cmp', [image, `${out}.disk`]);
  },
);

it('copies without the free space by sparsify --output and by copy --sparsify alike', async () => {
  const disk = await makeGuestDisk();
  const files = await filesOf(disk, join(dirname(disk.image), 'files'));
  const before = await stat(disk.image, { bigint: true });
  for (const [i, args] of [
    ['sparsify', disk.image, '--output'],
    ['copy', '--sparsify', disk.image],
  ].entries()) {
    const out = join(dirname(disk.image), `out-${i}.img`);
    const { status, stdout } = await disktoolHere([...args, out, '--json']);
    expect(status).toBe(0);
    expect(JSON.stringify(JSON.parse(stdout))).toContain(`"output":"${out}"`);
    expect(await allocatedSize(out)).toBeLessThan(20 * MiB);
    expect((await stat(out)).size).toBe(Number(before.size));
    expect(await filesOf({ root: `${out}?offset=${disk.rootOffset}` }, join(dirname(disk.image), 'files'))).toEqual(
      files,
    );
    await run('e2fsck', ['-fn', `${out}?offset=${disk.rootOffset}`]);
  }
  const after = await stat(disk.image, { bigint: true });
  expect({ mtime: after.mtimeNs, blocks: after.blocks }).toEqual({ mtime: before.mtimeNs, blocks: before.blocks });
});

it('a copy without the free space exits with 3 when a filesystem is copied whole for its state', async () => {
  const disk = await makeGuestDisk();
  await run('debugfs', ['-w', '-R', 'set_super_value state 2', disk.root]);
  const out = join(dirname(disk.image), 'out.img');
  expect(await disktoolHere(['copy', '--quiet', '--sparsify', disk.image, out])).toMatchObject({
    status: 3,
    stdout: expect.stringContaining('left alone'),
  });
  await run('cmp', [`--bytes=${disk.swapOffset}`, disk.image, out]);
});

it('copy --sparsify copies whole what --ignore names, and takes such words only beside --sparsify', async () => {
  const disk = await makeGuestDisk();
  const out = join(dirname(disk.image), 'out.img');
  for (const said of [['--ignore', '/dev/sda1'], ['--minimum', '1M'], ['--unpartitioned'], ['--no-replay']]) {
    expect(await disktoolHere(['copy', ...said, disk.image, out])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(`${said[0]} goes with --sparsify`),
    });
  }
  const command = ['copy', '--quiet', '--sparsify', '--ignore', '/dev/sda1', disk.image, out];
  expect(await disktoolHere(command)).toMatchObject({ status: 0 });
  await run('cmp', [`--bytes=${disk.swapOffset}`, disk.image, out]);
});

needs({ programs: ['mkfs.exfat', 'mount.exfat-fuse', 'losetup'], root: true, devices: ['/dev/fuse'] })(
  'writes whole or not at all also where a file must have a name from the start',
  async () => {
    const folder = await temporaryFolder();
    const host = join(folder, 'host.img');
    const mountPoint = join(folder, 'mnt');
    const source = join(folder, 'source.img');
    await writeFile(source, Buffer.alloc(5 * MiB, 'data'));
    await writeFile(host, '');
    await truncate(host, 64 * MiB);
    await run('mkfs.exfat', [host]);
    await run('mkdir', [mountPoint]);
    const { path: loop } = await loopDevice(host);
    onTestFinished(async () => {
      await attempt('umount', [mountPoint]);
    });
    await run('mount.exfat-fuse', [loop, mountPoint]);
    expect(await disktoolHere(['copy', '--quiet', source, join(mountPoint, 'copy.img')])).toMatchObject({ status: 0 });
    await run('cmp', [source, join(mountPoint, 'copy.img')]);
    await truncate(source, 200 * MiB);
    await writeFile(source, Buffer.alloc(100 * MiB, 'more'));
    expect(await disktoolHere(['copy', '--quiet', source, join(mountPoint, 'full.img')])).toMatchObject({ status: 1 });
    expect(await run('ls', ['-A', mountPoint])).toBe('copy.img');
    await run('umount', [mountPoint]);
  },
);

it('refuses a partition that the image cuts short, unless forced, and an output without a name', async () => {
  const image = await guestImage();
  await truncate(image, 20 * MiB);
  const out = join(dirname(image), 'out');
  expect(await disktoolHere(['download', '--quiet', image, '1', out])).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('cut short'),
  });
  expect(await disktoolHere(['download', '--quiet', '--force', image, '1', out])).toMatchObject({ status: 0 });
  await run('cmp', [await cut(image, 1, 19), out]);
  expect(await disktoolHere(['download', '--quiet', '--force', image, '1', ''])).toMatchObject({ status: 2 });
});
