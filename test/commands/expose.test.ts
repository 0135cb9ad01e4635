import { randomBytes } from 'node:crypto';
import { chmod, lstat, mkdir, open, readdir, readFile, stat, statfs, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { DiskError } from '../../src/error/disk-error.js';
import { identify } from '../../src/host/file-identity.js';
import { findHolders } from '../../src/host/holders.js';
import { MountPoint } from '../../src/task/expose/mount-point.js';
import { exposed, fuseNeeds } from '../support/exposed.js';
import { lvmDisk, lvmNeeds } from '../support/lvm-image.js';
import { until } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { attempt, disktool, disktoolPath, run } from '../support/run.js';
import { mountLoop, temporaryFolder } from '../support/temporary.js';

const it = needs(fuseNeeds);

const isMounted = async (path: string) => (await readFile('/proc/self/mountinfo', 'utf8')).includes(` ${path} `);

async function place(): Promise<{ folder: string; file: string }> {
  const folder = await temporaryFolder();
  return { folder, file: join(folder, 'disk') };
}

async function imageOf(size: number): Promise<string> {
  const path = join(await temporaryFolder(), 'a.img');
  await writeFile(path, '');
  await truncate(path, size);
  return path;
}

describe('disktool expose', () => {
  it('shows a file of 7 exabytes to ls and stat, and is gone without a trace on SIGTERM', async () => {
    const { folder, file } = await place();
    const shown = await exposed(file, ['--memory', '7E']);
    expect(shown.line).toContain('7.0E');
    expect(shown.line).toContain(`umount ${file}`);
    expect(await run('ls', ['-lh', file])).toContain(' 7.0E ');
    expect((await run('stat', ['-c', '%s %b %F', file])).trim()).toBe('8070450532247928832 0 regular file');
    await shown.stop();
    expect(await readdir(folder)).toEqual([]);
  });

  it('exits with status 0 on SIGINT too, and leaves a file that was there', async () => {
    const { file } = await place();
    await writeFile(file, '');
    const shown = await exposed(file, ['--memory', '1M']);
    shown.kill('SIGINT');
    expect(await shown.ended).toEqual([0, null]);
    expect((await stat(file)).size).toBe(0);
    expect(await isMounted(file)).toBe(false);
  });

  it('ends with status 0 when somebody unmounts it', async () => {
    const { file } = await place();
    const shown = await exposed(file, ['--memory', '1M']);
    await run('umount', [file]);
    expect(await shown.ended).toEqual([0, null]);
  });

  it('ends while a reader reads, who gets an error instead of waiting', async () => {
    const { file } = await place();
    const shown = await exposed(file, ['--memory', '7E']);
    const reading = attempt('dd', [`if=${file}`, 'of=/dev/null', 'bs=1M']);
    const identity = identify(await stat(file, { bigint: true }));
    await until(async () => (await findHolders(identity, [])).length > 0);
    await shown.stop();
    expect((await reading).status).toBe(1);
    expect(await isMounted(file)).toBe(false);
  });

  it('has the status of the command of --run, and unmounts when that ends', async () => {
    const { folder, file } = await place();
    const { status, stdout } = await disktool(['expose', file, '--memory', '1M', '--run', 'stat -c %s $file; exit 7']);
    expect({ status, stdout: stdout.trim() }).toEqual({ status: 7, stdout: String(1 << 20) });
    expect(await readdir(folder)).toEqual([]);
  });

  it('reads and writes the bytes of an image, which has them afterwards', async () => {
    const { file } = await place();
    const image = await imageOf(8 << 20);
    const before = randomBytes(8 << 20);
    await writeFile(image, before);
    const shown = await exposed(file, ['--image', image]);
    expect((await readFile(file)).equals(before)).toBe(true);
    const data = randomBytes(3 << 20);
    const handle = await open(file, 'r+');
    await handle.write(data, 0, data.length, 12_345);
    await handle.sync();
    await handle.close();
    data.copy(before, 12_345);
    expect((await readFile(image)).equals(before)).toBe(true);
    await shown.stop();
  });

  it('writes nothing with --read-only: the filesystem is', async () => {
    const { file } = await place();
    const shown = await exposed(file, ['--image', await imageOf(1 << 20), '--read-only']);
    await expect(open(file, 'r+')).rejects.toThrow('EROFS');
    expect((await stat(file)).mode & 0o222).toBe(0);
    await shown.stop();
  });

  it('is as large as it is: truncation is refused, and so is what lies behind the end', async () => {
    const { file } = await place();
    const shown = await exposed(file, ['--memory', '1000001']);
    await expect(truncate(file, 0)).rejects.toThrow('EPERM');
    await expect(truncate(file, 2_000_000)).rejects.toThrow('EPERM');
    await truncate(file, 1_000_001);
    await expect(writeFile(file, 'x')).rejects.toThrow('EPERM');
    const handle = await open(file, 'r+');
    await expect(handle.write('x', 1_000_001)).rejects.toThrow('ENOSPC');
    expect((await handle.write('xyz', 999_999)).bytesWritten).toBe(2);
    await handle.close();
    for (const args of [
      ['-l', '2M'],
      ['-n', '-l', '2M'],
      ['-c', '-l', '4096'],
      ['-i', '-l', '4096'],
      ['-z', '-l', '2M'],
    ]) {
      expect((await attempt('fallocate', [...args, file])).status, args.join(' ')).toBe(1);
    }
    expect((await stat(file)).size).toBe(1_000_001);
    await shown.stop();
  });

  it('gives back what is punched, and shows the room in use', async () => {
    const { file } = await place();
    const shown = await exposed(file, ['--memory', '1G']);
    const blocks = async () => (await stat(file)).blocks;
    await run('dd', ['if=/dev/urandom', `of=${file}`, 'bs=1M', 'count=8', 'conv=notrunc', 'status=none']);
    expect(await blocks()).toBe((8 << 20) / 512);
    await run('fallocate', ['--punch-hole', '-o', '1M', '-l', '5M', file]);
    expect(await blocks()).toBe((3 << 20) / 512);
    await run('fallocate', ['--zero-range', '-o', '6M', '-l', '1M', file]);
    const bytes = (await run('cmp', ['-n', String(6 << 20), '-i', `${1 << 20}:0`, file, '/dev/zero'])).trim();
    expect(bytes).toBe('');
    await shown.stop();
  });

  it('is copied at once by its holes, all 7 exabytes, by cp --sparse=auto onto tmpfs', async () => {
    const { file } = await place();
    const shown = await exposed(file, ['--memory', '7E']);
    const handle = await open(file, 'r+');
    await handle.close();
    await run('dd', [
      'if=/dev/urandom',
      `of=${file}`,
      'bs=64K',
      'count=1',
      'seek=70368744177664',
      'conv=notrunc',
      'status=none',
    ]);
    const copy = `/dev/shm/disktool-test-${process.pid}-copy`;
    onTestFinished(async () => {
      await run('rm', ['-f', copy]);
    });
    await run('cp', ['--sparse=auto', file, copy]);
    expect((await run('stat', ['-c', '%s %b', copy])).trim()).toBe('8070450532247928832 128');
    const at = ['-i', String(70368744177664n * 65_536n), '-n', '65536'];
    await run('cmp', [...at, file, copy]);
    await shown.stop();
  }, 30_000);

  it('reads, writes and finds holes up to the last byte of 2^63-1', async () => {
    const { file } = await place();
    const shown = await exposed(file, ['--memory', '2^63-1']);
    const script = `
import os, sys
size = 2**63 - 1
fd = os.open(sys.argv[1], os.O_RDWR)
assert os.fstat(fd).st_size == size
assert os.pwrite(fd, b'end', size - 3) == 3
assert os.pread(fd, 3, size - 3) == b'end'
assert os.pwrite(fd, b'x' * 100, 2**53 + 1) == 100
assert os.pread(fd, 102, 2**53) == b'\\0' + b'x' * 100 + b'\\0'
assert os.lseek(fd, 0, os.SEEK_DATA) == 2**53
assert os.lseek(fd, 2**53, os.SEEK_HOLE) == 2**53 + 4096
assert os.lseek(fd, size - 1, os.SEEK_DATA) == size - 1
`;
    await run('/usr/bin/python3', ['-c', script, file]);
    await shown.stop();
  });

  it('takes away the dead mount of one that was killed, and says so', async () => {
    const { file } = await place();
    const first = await exposed(file, ['--memory', '1M']);
    first.kill('SIGKILL');
    await first.ended;
    await expect(stat(file)).rejects.toThrow('ENOTCONN');
    const second = await exposed(file, ['--memory', '2M']);
    await until(() => second.said().includes('was killed'));
    expect((await stat(file)).size).toBe(2 << 20);
    await second.stop();
  });

  it('takes away a dead mount with --unmount as well', async () => {
    const { file } = await place();
    const shown = await exposed(file, ['--memory', '1M']);
    shown.kill('SIGKILL');
    await shown.ended;
    expect((await disktool(['expose', file, '--unmount'])).status).toBe(0);
    expect((await stat(file)).size).toBe(0);
    expect((await disktool(['expose', file, '--unmount'])).stderr).toContain('no disk is shown there');
  });

  it('goes on in the background until --unmount, which waits until the image is written', async () => {
    const { folder, file } = await place();
    const image = await imageOf(4 << 20);
    const pidFile = join(folder, 'pid');
    onTestFinished(async () => {
      await attempt('umount', ['--lazy', file]);
    });
    const started = await disktool(['expose', file, '--file', image, '--background', '--pid-file', pidFile]);
    expect(started).toMatchObject({ status: 0, stderr: '' });
    expect(started.stdout).toContain('showing a.img (4.0M)');
    const pid = Number(await readFile(pidFile, 'utf8'));
    await run('dd', ['if=/dev/urandom', `of=${file}`, 'bs=1M', 'count=4', 'conv=notrunc', 'status=none']);
    expect((await disktool(['expose', file, '--unmount'])).status).toBe(0);
    await until(() =>
      lstat(`/proc/${pid}`).then(
        () => false,
        () => true,
      ),
    );
    expect(await readdir(folder)).toEqual([]);
    expect((await stat(image)).blocks).toBe((4 << 20) / 512);
  });

  it('fails in the background as it does in the foreground', async () => {
    const { folder, file } = await place();
    const { status, stderr } = await disktool(['expose', file, '--image', '/nowhere', '--background']);
    expect({ status, stderr }).toEqual({ status: 1, stderr: 'disktool: /nowhere: there is no such file' });
    expect(await readdir(folder)).toEqual([]);
  });

  it('refuses what it would hide, and what is shown already', async () => {
    const { folder, file } = await place();
    const full = join(folder, 'full');
    await writeFile(full, 'something');
    await mkdir(join(folder, 'folder'));
    const refused = (path: string, kind: 'file' | 'folder' = 'file') =>
      MountPoint.take(path, kind).then(
        () => 'taken',
        (error: unknown) => (error instanceof DiskError ? `${error.code} ${error.message}` : error),
      );
    expect(await refused(full)).toMatch(/^UNSAFE .* not empty/);
    expect(await refused(folder, 'folder')).toMatch(/^UNSAFE .* not empty/);
    expect(await refused(join(folder, 'folder'))).toMatch(/^USAGE .* no regular file/);
    expect(await refused(full, 'folder')).toMatch(/^USAGE .* no folder/);
    expect(await refused(join(folder, 'none', 'file'))).toMatch(/^NOT_FOUND .* no such file/);
    expect(await readdir(folder)).toEqual(['folder', 'full']);
    const shown = await exposed(file, ['--memory', '1M']);
    expect(await refused(file)).toMatch(/^BUSY .* shown there already/);
    await shown.stop();
  });

  it('goes on for as long as a loop device is on it, unless it is asked again', async () => {
    const { file } = await place();
    const first = await exposed(file, ['--memory', '64M']);
    await run('mke2fs', ['-q', '-t', 'ext4', file]);
    const { mountPoint, unmount } = await mountLoop(file);
    first.kill('SIGTERM');
    await until(() => first.said().includes('in use by /dev/loop'));
    expect(await isMounted(file)).toBe(false);
    await writeFile(join(mountPoint, 'hello'), 'world');
    await run('sync', ['-f', mountPoint]);
    await unmount();
    expect(await first.ended).toEqual([0, null]);
    const second = await exposed(file, ['--memory', '64M']);
    const loop = (await run('losetup', ['--find', '--show', file])).trim();
    onTestFinished(async () => {
      await attempt('losetup', ['--detach', loop]);
    });
    second.kill('SIGTERM');
    await until(() => second.said().includes(`in use by ${loop}`));
    second.kill('SIGTERM');
    expect(await second.ended).toEqual([0, null]);
  });

  it('the user’s error story: EIO while a file exists, and ext4 is well again after e2fsck', async () => {
    const { folder, file } = await place();
    const inject = join(folder, 'inject');
    const shown = await exposed(file, ['--memory', '4G', '--error-file', inject]);
    await run('mke2fs', ['-q', '-t', 'ext4', '-F', file]);
    const before = await mountLoop(file);
    await mkdir(join(before.mountPoint, 'deep'));
    await writeFile(join(before.mountPoint, 'deep', 'hello'), 'world');
    await before.unmount();
    const first = await mountLoop(file);
    await writeFile(inject, '');
    await writeFile('/proc/sys/vm/drop_caches', '3');
    const failed = await attempt('ls', ['-l', join(first.mountPoint, 'deep')], { env: { LC_ALL: 'C' } });
    expect(failed.status).not.toBe(0);
    expect(failed.stderr).toContain('Input/output error');
    // The journal cannot be written either.
    await writeFile(join(first.mountPoint, 'lost'), 'x').catch(() => {});
    await attempt('sync', ['-f', first.mountPoint]);
    await run('rm', [inject]);
    expect(await run('ls', [join(first.mountPoint, 'deep')])).toBe('hello');
    await expect(writeFile(join(first.mountPoint, 'refused'), 'x')).rejects.toThrow(/EROFS|EIO/);
    await first.unmount();
    expect((await attempt('e2fsck', ['-fy', file])).status).toBeLessThan(4);
    const second = await mountLoop(file);
    expect(await readFile(join(second.mountPoint, 'deep', 'hello'), 'utf8')).toBe('world');
    await second.unmount();
    await run('e2fsck', ['-fn', file]);
    await shown.stop();
  });
});

needs({ ...fuseNeeds, programs: ['sgdisk', 'mke2fs', 'e2fsck', 'mount'] })(
  'sgdisk on the disk, mke2fs on its partition and files through a loop mount are in the image',
  async () => {
    const folder = await temporaryFolder();
    const [file, guest] = [join(folder, 'disk'), join(folder, 'guest')];
    const image = await imageOf(96 << 20);
    const whole = await exposed(file, ['--image', image]);
    await run('sgdisk', ['--new=1:1M:+64M', '--new=2:0:0', file]);
    await whole.stop();
    const all = await exposed(guest, ['--image', image, '--all']);
    expect((await readdir(guest)).sort()).toEqual(['sda', 'sda1', 'sda2']);
    expect((await stat(join(guest, 'sda1'))).size).toBe(64 << 20);
    await run('mke2fs', ['-q', '-t', 'ext4', join(guest, 'sda1')]);
    const { mountPoint, unmount } = await mountLoop(join(guest, 'sda1'));
    await writeFile(join(mountPoint, 'random'), randomBytes(5 << 20));
    await mkdir(join(mountPoint, 'a folder'));
    const sum = (await run('sha256sum', [join(mountPoint, 'random')])).split(' ')[0] ?? '';
    await unmount();
    await run('e2fsck', ['-fn', join(guest, 'sda1')]);
    await all.stop();
    expect((await disktool(['ls', image, '/dev/sda1', '/'])).stdout.split('\n')).toEqual(
      expect.arrayContaining(['a folder', 'random']),
    );
    const out = join(folder, 'out');
    await mkdir(out);
    expect((await disktool(['copy-out', '--quiet', image, '/dev/sda1', '/random', out])).status).toBe(0);
    expect(await run('sha256sum', [join(out, 'random')])).toContain(sum);
  },
);

needs({ ...lvmNeeds, ...fuseNeeds, programs: lvmNeeds.programs })(
  'logical volumes are files in a folder of their group, whole also where their pieces are not in a row',
  async () => {
    const commands = ['vgcreate vg $1', 'lvcreate -l 4 -n a vg', 'lvcreate -l 4 -n b vg', 'lvextend -l +2 vg/a'];
    const { image } = await lvmDisk({ commands });
    const folder = join(await temporaryFolder(), 'guest');
    const shown = await exposed(folder, ['--image', image, '--all']);
    expect((await readdir(folder, { recursive: true })).sort()).toEqual(['sda', 'vg', 'vg/a', 'vg/b']);
    const data = randomBytes((6 * 4) << 20);
    const handle = await open(join(folder, 'vg', 'a'), 'r+');
    expect((await handle.stat()).size).toBe(data.length);
    await handle.write(data, 0, data.length, 0);
    await handle.close();
    await shown.stop();
    const out = `${image}.out`;
    expect((await disktool(['download', image, 'vg/a', out])).status).toBe(0);
    expect((await readFile(out)).equals(data)).toBe(true);
  },
);

needs({ ...fuseNeeds, programs: ['mkfs.btrfs', 'mount'] })(
  'mkfs.btrfs on 2^63-1 bytes of memory, mounted by loop',
  async () => {
    const { file } = await place();
    const shown = await exposed(file, ['--memory', '2^63-1']);
    await run('mkfs.btrfs', ['-q', '-K', file]);
    const { mountPoint, unmount } = await mountLoop(file);
    await writeFile(join(mountPoint, 'hello'), 'world');
    expect((await statfs(mountPoint, { bigint: true })).blocks * 4096n).toBeGreaterThan(2n ** 62n);
    await unmount();
    await run('btrfs', ['check', '--readonly', file]);
    await shown.stop();
  },
);

needs({ ...fuseNeeds, programs: ['fusermount3'] })('a user who is not root mounts by fusermount3', async () => {
  const { folder, file } = await place();
  await chmod(folder, 0o777);
  const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
  const [setpriv = '', ...drop] = nobody;
  await run(setpriv, [...drop, 'touch', file]);
  const asNobody = (program: string, ...args: string[]) => run(setpriv, [...drop, program, ...args]);
  const shown = await exposed(file, ['--memory', '1T'], nobody);
  expect((await asNobody('stat', '-c', '%s %U', file)).trim()).toBe(`${2 ** 40} nobody`);
  await asNobody('dd', 'if=/dev/urandom', `of=${file}`, 'bs=1M', 'count=2', 'conv=notrunc', 'status=none');
  // Hidden from everybody else, root too.
  await expect(stat(file)).rejects.toThrow('EACCES');
  await shown.stop();
  expect(await isMounted(file)).toBe(false);
});

it('another user may use it with --allow-other, as far as its mode lets him', async () => {
  const { folder, file } = await place();
  await chmod(folder, 0o755);
  const shown = await exposed(file, ['--memory', '1M', '--allow-other']);
  const asNobody = (...args: string[]) => attempt('setpriv', ['--reuid=65534', '--clear-groups', ...args]);
  expect((await asNobody('cmp', '-n', '1048576', file, '/dev/zero')).status).toBe(0);
  expect((await asNobody('dd', 'if=/dev/zero', `of=${file}`, 'count=1', 'conv=notrunc')).status).toBe(1);
  await shown.stop();
});

it('without /dev/fuse, or the right to open it or to mount, says what is missing', async () => {
  const { folder, file } = await place();
  await chmod(folder, 0o777);
  const tried = async (prepare: string, ...prefix: string[]) => {
    const command = [...prefix, process.execPath, disktoolPath, 'expose', file, '--memory', '1M'];
    const script = `mkdir -p ${folder}/dev; mknod ${folder}/dev/null c 1 3 -m 666; ${prepare}\nmount --bind ${folder}/dev /dev; exec "$@"`;
    const { status, stderr } = await attempt('unshare', ['--mount', 'sh', '-c', script, 'sh', ...command]);
    await run('rm', ['-r', join(folder, 'dev')]);
    expect(status).toBe(1);
    expect(await readdir(folder)).toEqual([]);
    return stderr;
  };
  const node = `mknod ${folder}/dev/fuse c 10 229 -m 600`;
  expect(await tried('')).toMatch(/\/dev\/fuse is missing: .*modprobe fuse/);
  expect(await tried(node, 'setpriv', '--reuid=65534', '--clear-groups')).toContain('you may not open it (EACCES)');
  expect(await tried(node, 'setpriv', '--bounding-set=-sys_admin')).toContain('not permitted (EPERM)');
});

test('without a disk, says what to name', async () => {
  const { file } = await place();
  const { status, stderr } = await disktool(['expose', file]);
  expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.stringContaining('name what to show') });
});
