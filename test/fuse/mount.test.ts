import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, vi } from 'vitest';
import type { BlockDevice } from '../../src/device/block-device.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import { DiskError } from '../../src/error/disk-error.js';
import { FuseMount } from '../../src/fuse/mount.js';
import { WatchedDevice } from '../nbd/rules/watched-device.js';
import { fuseNeeds } from '../support/exposed.js';
import { needs } from '../support/needs.js';
import { attempt, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs(fuseNeeds);

/** Shows a device as a file until the test ends. */
async function shown(device: BlockDevice): Promise<{ file: string; mount: FuseMount }> {
  const file = join(await temporaryFolder(), 'disk');
  await writeFile(file, '');
  const options = { source: device.name, allowOther: false, mask: 0o77 };
  const mount = await FuseMount.make(file, [{ path: '', file: { device, readOnly: false } }], options);
  onTestFinished(async () => {
    await mount.detach();
    await mount.close();
    await device.close();
  });
  return { file, mount };
}

/** A device that answers later, and never at all what `holds` says, until the test lets it. */
function holding(holds: (offset: bigint) => boolean): { device: WatchedDevice; release: () => void } {
  const device = new WatchedDevice(1n << 30n);
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  device.meanwhile = ({ operation, offset }) =>
    operation !== 'extents' && holds(offset) ? released : Promise.resolve();
  return { device, release };
}

describe('a device that answers later', () => {
  it('is read and written as any other', async () => {
    const device = new WatchedDevice(1n << 30n);
    const { file } = await shown(device);
    const data = randomBytes(5 << 20);
    const handle = await open(file, 'r+');
    await handle.write(data, 0, data.length, 1_234_567);
    await handle.sync();
    const back = Buffer.alloc(data.length);
    await handle.read(back, 0, back.length, 1_234_567);
    expect(back.equals(data)).toBe(true);
    await handle.close();
    expect(device.asked.map(({ operation }) => operation)).toContain('flush');
    expect((await stat(file)).blocks).toBeGreaterThanOrEqual((5 << 20) / 512);
  });

  it('holds up no other request by a slow one', async () => {
    const { device, release } = holding((offset) => offset < 4096n);
    const { file } = await shown(device);
    const handle = await open(file, 'r+');
    const slow = handle.read(Buffer.alloc(4096), 0, 4096, 0);
    const slowWrite = handle.write(Buffer.alloc(4096), 0, 4096, 0);
    await vi.waitUntil(
      () => device.asked.filter(({ operation, offset }) => operation !== 'extents' && offset === 0n).length === 2,
    );
    for (let i = 1; i <= 20; i++) await handle.read(Buffer.alloc(4096), 0, 4096, i * 4096);
    await handle.write('not held up', 8192);
    release();
    await Promise.all([slow, slowWrite]);
    await handle.close();
  });

  it('is given up by a reader that is killed', async () => {
    const { device } = holding((offset) => offset < 4096n);
    const { file } = await shown(device);
    const aborted = vi.fn();
    const meanwhile = device.meanwhile;
    device.meanwhile = (asked) =>
      Promise.race([
        meanwhile(asked),
        new Promise<void>((_, reject) => {
          asked.options.signal?.addEventListener('abort', () => {
            aborted();
            reject(DiskError.cancelled(asked.options.signal));
          });
        }),
      ]);
    const reader = spawn('dd', [`if=${file}`, 'of=/dev/null', 'bs=4096', 'count=1'], { stdio: 'ignore' });
    const ended = once(reader, 'exit');
    await vi.waitUntil(() => device.asked.some(({ operation }) => operation === 'read'));
    reader.kill('SIGKILL');
    expect(await ended).toEqual([null, 'SIGKILL']);
    expect(aborted).toHaveBeenCalledOnce();
  });

  it('that fails makes the reader fail, with its own error where the kernel has such', async () => {
    const device = new WatchedDevice(1n << 30n);
    const { file } = await shown(device);
    const handle = await open(file, 'r+');
    for (const [thrown, errno] of [
      [new DiskError('IO', 'x', { errno: 'ENOSPC' }), 'ENOSPC'],
      [new DiskError('CORRUPT', 'x'), 'EIO'],
      [new DiskError('IO', 'x', { errno: 'ENOSYS' }), 'EIO'],
      [new DiskError('UNSUPPORTED', 'x'), 'ENOTSUP'],
      [new TypeError('a mistake of ours'), 'EIO'],
    ] as const) {
      device.meanwhile = () => Promise.reject(thrown);
      await expect(handle.read(Buffer.alloc(1), 0, 1, 0)).rejects.toThrow(errno);
      await expect(handle.write('x', 0)).rejects.toThrow(errno);
      await expect(handle.sync()).rejects.toThrow(errno);
    }
    device.meanwhile = () => Promise.resolve();
    await handle.close();
  });

  it('that does not know its holes or cannot punch says so', async () => {
    const device = new WatchedDevice(1n << 20n, { extents: false, zero: 'emulated', fastZero: false, trim: false });
    const { file } = await shown(device);
    expect((await stat(file)).blocks).toBe((1 << 20) / 512);
    const { stderr } = await attempt('fallocate', ['-p', '-l', '4096', file], { env: { LC_ALL: 'C' } });
    expect(stderr).toContain('unsupported');
    const seeks = 'import os,sys; f=os.open(sys.argv[1],0); print(os.lseek(f,5,3), os.lseek(f,5,4))';
    expect((await run('/usr/bin/python3', ['-c', seeks, file])).trim()).toBe(`5 ${1 << 20}`);
  });

  it('is mapped by several processes, and shows what another one has written', async () => {
    const { file } = await shown(new WatchedDevice(1n << 20n));
    const script = `
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
shared = mmap.mmap(fd, 8192, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
shared[100:103] = b'abc'
shared.flush()
assert os.pread(fd, 3, 100) == b'abc'
`;
    await run('/usr/bin/python3', ['-c', script, file]);
  });
});

describe('a mount', () => {
  it('that is closed while in use gives errors to who has it open, and takes nothing along', async () => {
    const { device, release } = holding((offset) => offset < 4096n);
    const { file, mount } = await shown(device);
    const handle = await open(file, 'r+');
    const reading = handle.read(Buffer.alloc(4096), 0, 4096, 0);
    await vi.waitUntil(() => device.asked.some(({ operation }) => operation === 'read'));
    expect(await mount.unmount()).toBe(false);
    await mount.detach();
    await mount.close();
    await expect(reading).rejects.toThrow(/ECONNABORTED|ENOTCONN|EIO/);
    await expect(handle.read(Buffer.alloc(1), 0, 1, 8192)).rejects.toThrow(/ENOTCONN|EIO|ECONNABORTED/);
    release();
    await handle.close();
    expect((await stat(file)).size).toBe(0);
  });

  it('of a folder shows files in folders, and refuses others', async () => {
    const folder = join(await temporaryFolder(), 'all');
    await run('mkdir', [folder]);
    const device = memoryDevice(1n << 20n);
    const names = ['sda', 'sda1', 'vg/root', 'vg/home', 'other/root'];
    const files = names.map((path) => ({ path, file: { device, readOnly: false } }));
    const mount = await FuseMount.make(folder, files, { source: 'x', allowOther: false, mask: 0 });
    onTestFinished(async () => {
      await mount.detach();
      await mount.close();
      await device.close();
    });
    expect((await readdir(folder, { recursive: true })).sort()).toEqual([...names, 'vg', 'other'].sort());
    await expect(writeFile(join(folder, 'new'), 'x')).rejects.toThrow('EPERM');
    await expect(readFile(join(folder, 'sda2'))).rejects.toThrow('ENOENT');
    expect((await attempt('rm', [join(folder, 'sda')])).status).toBe(1);
    expect((await attempt('mv', [join(folder, 'sda'), join(folder, 'sdb')])).status).toBe(1);
    const handle = await open(join(folder, 'vg', 'root'), 'r+');
    await handle.write('seen', 0);
    await handle.close();
    // One disk by many names: nothing is kept in between.
    expect((await readFile(join(folder, 'other', 'root'))).subarray(0, 4).toString()).toBe('seen');
  });
});
