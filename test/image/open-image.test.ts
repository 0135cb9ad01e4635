import { existsSync, linkSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, readlink, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { formatOf, openImage } from '../../src/image/open-image.js';
import { hold, isLocked } from '../support/hold.js';
import { loopDevice } from '../support/loop-device.js';
import { needs } from '../support/needs.js';
import { attempt, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const size = 4 << 20;
const withQemu = needs({ programs: ['qemu-io', 'qemu-img', 'qemu-nbd'] });
const withNbdkit = needs({ programs: ['nbdkit', 'qemu-io'] });
const withLoop = needs({ programs: ['losetup', 'mke2fs'], root: true, devices: ['/dev/loop-control'] });

async function image(name = 'a.img'): Promise<string> {
  const path = join(await temporaryFolder(), name);
  await writeFile(path, 'boot');
  await truncate(path, size);
  return path;
}

/** True once the process has the file open. */
const hasOpen = (path: string, name: RegExp) => async () => {
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      if (!name.test(readFileSync(`/proc/${pid}/comm`, 'utf8'))) continue;
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        if ((await readlink(`/proc/${pid}/fd/${fd}`)) === path) return true;
      }
    } catch {
      // Gone already.
    }
  }
  return false;
};

async function openAndClose(path: string, options: Parameters<typeof openImage>[1]): Promise<string[]> {
  const warnings: string[] = [];
  const device = await openImage(path, { ...options, onWarning: (message) => warnings.push(message) });
  await device.close();
  return warnings;
}

test('reads and writes an image that nobody else has open', async () => {
  const path = await image();
  const device = await openImage(path, { access: 'write' });
  expect(device.name).toBe(path);
  expect(device.facts).toMatchObject({ size: BigInt(size), writable: true });
  await device.write(Buffer.from('disk'), 0n);
  const into = new Uint8Array(4);
  await device.read(into, 0n);
  expect(Buffer.from(into).toString()).toBe('disk');
  await device.close();
  expect(isLocked(path)).toBe(false);
});

test('lets many read at once, and nobody write meanwhile', async () => {
  const path = await image();
  const first = await openImage(path, { access: 'read' });
  const second = await openImage(path, { access: 'read' });
  expect(second.facts.writable).toBe(false);
  await expect(openImage(path, { access: 'write', force: true })).rejects.toMatchObject({ code: 'BUSY' });
  await first.close();
  await second.close();
  expect(await openAndClose(path, { access: 'write' })).toEqual([]);
});

/** What a refusal says to who only reads. */
function forReader<Refusal extends { readonly message: string }>(refusal: Refusal): Refusal {
  return { ...refusal, message: `${refusal.message}, or read it as it is: --force-share` };
}

test('lets nobody else open what is open for writing', async () => {
  const path = await image();
  const writer = await openImage(path, { access: 'write' });
  await expect(openImage(path, { access: 'write' })).rejects.toMatchObject({
    code: 'BUSY',
    message: `${path}: in use by this very process: stop it or wait for its end`,
  });
  await expect(openImage(path, { access: 'read' })).rejects.toMatchObject({ code: 'BUSY' });
  expect(await openAndClose(path, { access: 'read', forceShare: true })).toEqual([
    `${path}: may be written to by this very process: what is read need not fit together`,
  ]);
  await writer.close();
  expect(await openAndClose(path, { access: 'read', forceShare: true })).toEqual([]);
});

withQemu('refuses an image that QEMU writes to, and names the process', async () => {
  const path = await image();
  const { pid, end } = await hold('qemu-io', ['-f', 'raw', path], () => isLocked(path));
  const message = `${path}: in use by process ${pid} (qemu-io): stop it or wait for its end`;
  await expect(openImage(path, { access: 'write' })).rejects.toMatchObject({ code: 'BUSY', message });
  await expect(openImage(path, { access: 'write', force: true })).rejects.toMatchObject({ code: 'BUSY', message });
  await expect(openImage(path, { access: 'read' })).rejects.toMatchObject(forReader({ code: 'BUSY', message }));
  await end();
  expect(await openAndClose(path, { access: 'write' })).toEqual([]);
});

withQemu('reads beside a QEMU that only reads, and never writes beside it, forced or not', async () => {
  const path = await image();
  await hold('qemu-io', ['-r', '-f', 'raw', path], () => isLocked(path));
  expect(await openAndClose(path, { access: 'read' })).toEqual([]);
  await expect(openImage(path, { access: 'write', force: true })).rejects.toMatchObject({
    code: 'BUSY',
    facts: { reason: 'in-use-by-lock' },
  });
});

withQemu('never writes to the base of an open overlay', async () => {
  const path = await image();
  const overlay = `${path}.qcow2`;
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', path, '-F', 'raw', overlay]);
  await hold('qemu-io', ['-f', 'qcow2', overlay], () => isLocked(path));
  await expect(openImage(path, { access: 'write', force: true })).rejects.toMatchObject({ code: 'BUSY' });
});

withQemu('finds a QEMU that takes no locks', async () => {
  const path = await image();
  const options = `driver=raw,file.driver=file,file.locking=off,file.filename=${path}`;
  const { pid } = await hold('qemu-io', ['--image-opts', options], hasOpen(path, /qemu-io/));
  expect(isLocked(path)).toBe(false);
  const message = `${path}: in use by process ${pid} (qemu-io): stop it or wait for its end`;
  await expect(openImage(path, { access: 'write', force: true })).rejects.toMatchObject({ code: 'BUSY', message });
  await expect(openImage(path, { access: 'read' })).rejects.toMatchObject(forReader({ code: 'BUSY', message }));
  expect(await openAndClose(path, { access: 'read', forceShare: true })).toHaveLength(1);
});

withQemu('keeps QEMU out of what it writes to, and of writing what it reads', async () => {
  const path = await image();
  const writer = await openImage(path, { access: 'write' });
  const copy = ['convert', '-f', 'raw', '-O', 'raw', path, `${path}.copy`];
  expect((await attempt('qemu-img', copy)).stderr).toMatch(/Failed to get .* lock/);
  await writer.close();
  const reader = await openImage(path, { access: 'read' });
  expect((await attempt('qemu-img', copy)).status).toBe(0);
  expect((await attempt('qemu-io', ['-f', 'raw', '-c', 'write 0 512', path])).stderr).toMatch(/Failed to get .* lock/);
  await reader.close();
  expect((await attempt('qemu-io', ['-f', 'raw', '-c', 'write 0 512', path])).status).toBe(0);
});

withNbdkit('writes beside a reader that takes no locks only when forced, and says who it is', async () => {
  const path = await image();
  const socket = `${path}.sock`;
  const { pid } = await hold('nbdkit', ['-f', '-r', '-U', socket, 'file', path], () => existsSync(socket));
  await hold('qemu-io', ['-r', '-f', 'raw', `nbd:unix:${socket}`], hasOpen(path, /nbdkit/));
  expect(isLocked(path)).toBe(false);
  await expect(openImage(path, { access: 'write' })).rejects.toMatchObject({
    code: 'BUSY',
    message: `${path}: in use by process ${pid} (nbdkit): stop it or wait for its end`,
    facts: { reason: 'in-use-by-reader' },
  });
  expect(await openAndClose(path, { access: 'write', force: true })).toEqual([
    `${path}: read by process ${pid} (nbdkit), who will see it change`,
  ]);
  expect(await openAndClose(path, { access: 'read' })).toEqual([]);
});

withNbdkit('refuses beside a writer that takes no locks, forced or not', async () => {
  const path = await image();
  const socket = `${path}.sock`;
  const { pid } = await hold('nbdkit', ['-f', '-U', socket, 'file', path], () => existsSync(socket));
  await hold('qemu-io', ['-f', 'raw', `nbd:unix:${socket}`], hasOpen(path, /nbdkit/));
  const busy = { code: 'BUSY', message: expect.stringContaining(`process ${pid} (nbdkit)`) };
  await expect(openImage(path, { access: 'write', force: true })).rejects.toMatchObject(busy);
  await expect(openImage(path, { access: 'read' })).rejects.toMatchObject(busy);
});

const withPolicy = needs({ programs: ['nbdkit', 'qemu-img'] });
withPolicy('finds out the format of an export that takes requests of whole blocks of 4096 bytes alone', async () => {
  const path = join(await temporaryFolder(), 'a.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', path, `${size}`]);
  // A whole number of blocks.
  await truncate(path, 1 << 20);
  const socket = `${path}.sock`;
  const policy = ['blocksize-minimum=4096', 'blocksize-preferred=4096', 'blocksize-error-policy=error'];
  const args = ['-f', '-r', '-U', socket, '--filter=blocksize-policy', 'file', path, ...policy];
  await hold('nbdkit', args, () => existsSync(socket));
  await using disk = await openImage(`nbd+unix:///?socket=${socket}`, { access: 'read' });
  expect(formatOf(disk)).toBe('qcow2');
  const first = Buffer.alloc(512, 1);
  await disk.read(first, 0n);
  expect(first.equals(Buffer.alloc(512))).toBe(true);
});

test('lists three of those who have it open, and counts the rest', async () => {
  const path = await image();
  for (let i = 0; i < 5; i++) await hold('sh', ['-c', `exec <'${path}'; kill -STOP $$`], () => true);
  const deadline = Date.now() + 5000;
  let message = '';
  while (!message.includes('and 2 more') && Date.now() < deadline) {
    message = await openImage(path, { access: 'write' }).then(
      async (device) => {
        await device.close();
        return '';
      },
      (error: Error) => error.message,
    );
  }
  expect(message).toMatch(/: in use by (process \d+ \(sh\), ){2}process \d+ \(sh\) and 2 more: stop them/);
});

withLoop('names the loop device on the file, whatever path that was given', async () => {
  const path = await image();
  linkSync(path, `${path}.other`);
  const { path: loop } = await loopDevice(`${path}.other`);
  const busy = { code: 'BUSY', message: `${path}: in use by ${loop}: detach it first: losetup -d ${loop}` };
  await expect(openImage(path, { access: 'write', force: true })).rejects.toMatchObject(busy);
  await expect(openImage(path, { access: 'read' })).rejects.toMatchObject(forReader(busy));
});

withLoop('reads beside a loop device that only reads', async () => {
  const path = await image();
  const { path: loop } = await loopDevice(path, '--read-only');
  expect(await openAndClose(path, { access: 'read' })).toEqual([]);
  await expect(openImage(path, { access: 'write' })).rejects.toMatchObject({
    code: 'BUSY',
    message: expect.stringContaining(loop),
    facts: { reason: 'in-use-by-reader' },
  });
});

withLoop('opens a block device, alone when it writes', async () => {
  const { path: loop } = await loopDevice(await image());
  const device = await openImage(loop, { access: 'write' });
  expect(device.facts).toMatchObject({ size: BigInt(size), writable: true, extents: false });
  await expect(openImage(loop, { access: 'write' })).rejects.toMatchObject({ code: 'BUSY' });
  await expect(openImage(loop, { access: 'read' })).rejects.toMatchObject({ code: 'BUSY' });
  await device.close();
  expect(await openAndClose(loop, { access: 'read' })).toEqual([]);
});

withLoop('refuses a mounted block device, and reads one that is mounted read-only', async () => {
  const path = await image();
  await run('mke2fs', ['-q', '-F', path]);
  const { path: loop } = await loopDevice(path);
  const mountPoint = await temporaryFolder();
  await run('mount', [loop, mountPoint]);
  onTestFinished(async () => {
    await attempt('umount', [mountPoint]);
  });
  const busy = { code: 'BUSY', message: `${loop}: in use by the mount on ${mountPoint}: unmount it first` };
  await expect(openImage(loop, { access: 'write', force: true })).rejects.toMatchObject(busy);
  await expect(openImage(loop, { access: 'read' })).rejects.toMatchObject(forReader(busy));
  expect(await openAndClose(loop, { access: 'read', forceShare: true })).toEqual([
    `${loop}: may be written to by the mount on ${mountPoint}: what is read need not fit together`,
  ]);
  await run('mount', ['-o', 'remount,ro', mountPoint]);
  expect(await openAndClose(loop, { access: 'read' })).toEqual([]);
  await expect(openImage(loop, { access: 'write' })).rejects.toMatchObject(busy);
});

withLoop('finds a QEMU that takes no locks on a block device', async () => {
  const { path: loop } = await loopDevice(await image());
  const options = `driver=raw,file.driver=host_device,file.locking=off,file.filename=${loop}`;
  const { pid } = await hold('qemu-io', ['--image-opts', options], hasOpen(loop, /qemu-io/));
  const busy = { code: 'BUSY', message: expect.stringContaining(`process ${pid} (qemu-io)`) };
  await expect(openImage(loop, { access: 'write', force: true })).rejects.toMatchObject(busy);
  await expect(openImage(loop, { access: 'read' })).rejects.toMatchObject(busy);
});

needs({ root: true })('goes on with a warning where only the owner may ask who has the file open', async () => {
  const path = await image();
  await chmod(dirname(path), 0o755);
  await chmod(path, 0o666);
  process.seteuid?.('nobody');
  try {
    expect(await openAndClose(path, { access: 'write' })).toEqual([
      `${path}: could not check whether a program has it open without a lock (only its owner and root may ask)`,
    ]);
    expect(await openAndClose(path, { access: 'read' })).toEqual([]);
  } finally {
    process.seteuid?.(0);
  }
});

needs({ root: true })('says what a user may not do', async () => {
  const path = await image();
  await chmod(dirname(path), 0o755);
  await chmod(path, 0o644);
  process.seteuid?.('nobody');
  try {
    await expect(openImage(path, { access: 'write' })).rejects.toMatchObject({
      message: `${path}: you may not write it (EACCES): do this as its owner or as root`,
    });
  } finally {
    process.seteuid?.(0);
  }
});

test('opens several images of one folder for writing at once, though each is looked at for the sake of the others', async () => {
  const folder = await temporaryFolder();
  const paths = Array.from({ length: 40 }, (_, i) => join(folder, `${i}.img`));
  for (const path of paths) await writeFile(path, new Uint8Array(4096));
  const failures: unknown[] = [];
  const openOften = async (path: string) => {
    for (let i = 0; i < 60; i++) await (await openImage(path, { access: 'write' })).close();
  };
  await Promise.all(paths.slice(0, 4).map((path) => openOften(path).catch((error: unknown) => failures.push(error))));
  expect(failures).toEqual([]);
});

test('refuses in words what is no disk image', async () => {
  const folder = await temporaryFolder();
  const fifo = join(folder, 'fifo');
  await run('mkfifo', [fifo]);
  for (const access of ['read', 'write'] as const) {
    await expect(openImage(folder, { access })).rejects.toMatchObject({
      message: expect.stringContaining('is a folder'),
    });
    await expect(openImage(fifo, { access })).rejects.toMatchObject({ message: expect.stringContaining('is a pipe') });
    await expect(openImage('/dev/null', { access })).rejects.toMatchObject({
      code: 'USAGE',
      message: '/dev/null: is a character device, not a disk image or block device',
    });
  }
  await expect(openImage(join(folder, 'none'), { access: 'read' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: `${folder}/none: there is no such file`,
  });
  await expect(openImage(`${fifo}/x`, { access: 'read' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(openImage('', { access: 'read' })).rejects.toMatchObject({ code: 'USAGE' });
  await expect(openImage('a\0b', { access: 'read' })).rejects.toMatchObject({ code: 'USAGE' });
});

test('refuses URIs of other kinds in words', async () => {
  for (const uri of ['nbd+vsock://1/', 'nbd:unix:/s', 'https://h/a.img']) {
    await expect(openImage(uri, { access: 'read' })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  }
});

test('follows symbolic links, and locks what they lead to', async () => {
  const path = await image();
  await symlink(path, `${path}.link`);
  const device = await openImage(`${path}.link`, { access: 'write' });
  expect(device.name).toBe(`${path}.link`);
  await expect(openImage(path, { access: 'read' })).rejects.toMatchObject({ code: 'BUSY' });
  await device.close();
});

withQemu('changes no image of the formats that QEMU reads, unless they are to be taken for raw bytes', async () => {
  const folder = await temporaryFolder();
  for (const format of ['qcow', 'qed', 'vmdk', 'vdi', 'vhdx', 'vpc', 'parallels']) {
    const path = join(folder, `a.${format}`);
    await run('qemu-img', ['create', '-q', '-f', format, path, '1M']);
    await expect(openImage(path, { access: 'write' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: `${path}: is a ${format} image, which is not changed in place: make a copy (copy, or sparsify --output), or serve it with --read-only or --cow`,
    });
    expect(await openAndClose(path, { access: 'write', format: 'raw' })).toEqual([]);
  }
});

test('knows an image that is shorter than a sector: a VMDK descriptor, which is never taken for a raw disk', async () => {
  const path = join(await temporaryFolder(), 'a.vmdk');
  await writeFile(path, '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nRW 2048 SPARSE "a-s001.vmdk"\n');
  await expect(openImage(path, { access: 'read' })).rejects.toMatchObject({
    code: 'UNSAFE',
    facts: { reason: 'other-file' },
  });
  await expect(openImage(path, { access: 'write' })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});

test('warns that an image which is only read would be refused in place', async () => {
  const path = join(await temporaryFolder(), 'a.vdi');
  const bytes = Buffer.alloc(4096);
  bytes.writeUInt32LE(0xbeda107f, 64);
  await writeFile(path, bytes);
  const warnings: string[] = [];
  const opened = openImage(path, { access: 'read', shrinks: true, onWarning: (text) => warnings.push(text) });
  await expect(opened).rejects.toMatchObject({ code: 'UNSAFE' });
  expect(warnings).toEqual([expect.stringContaining('would be refused in place')]);
});

test('opens files shorter than any signature', async () => {
  const path = join(await temporaryFolder(), 'empty');
  await writeFile(path, '');
  const device = await openImage(path, { access: 'read' });
  expect(device.facts.size).toBe(0n);
  await device.close();
});

test('closes everything when it is refused or cancelled', async () => {
  const path = await image();
  const before = readdirSync('/proc/self/fd').length;
  const writer = await openImage(path, { access: 'write' });
  for (let i = 0; i < 3; i++) {
    await expect(openImage(path, { access: 'write' })).rejects.toMatchObject({ code: 'BUSY' });
    await expect(openImage(path, { access: 'read' })).rejects.toMatchObject({ code: 'BUSY' });
  }
  await writer.close();
  await expect(openImage(path, { access: 'read', signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: 'CANCELLED',
  });
  await expect(openImage('/dev/null', { access: 'read' })).rejects.toMatchObject({ code: 'USAGE' });
  expect(readdirSync('/proc/self/fd').length).toBe(before);
});

needs({ programs: ['mount'], root: true })('warns before an overlay copies the whole image up', async () => {
  const folder = await temporaryFolder();
  const lower = join(folder, 'lower');
  const merged = join(folder, 'merged');
  await run('mkdir', [lower, merged, join(folder, 'upper'), join(folder, 'work')]);
  await writeFile(join(lower, 'a.img'), new Uint8Array(4096));
  const options = `lowerdir=${lower},upperdir=${folder}/upper,workdir=${folder}/work`;
  await run('mount', ['-t', 'overlay', '-o', options, 'overlay', merged]);
  try {
    const path = join(merged, 'a.img');
    expect(await openAndClose(path, { access: 'read' })).toEqual([]);
    expect(existsSync(join(folder, 'upper', 'a.img'))).toBe(false);
    expect(await openAndClose(path, { access: 'write' })).toEqual([
      `${path}: lies on an overlay filesystem: if it still belongs to a lower layer, all of it is copied to the upper one`,
    ]);
    expect(existsSync(join(folder, 'upper', 'a.img'))).toBe(true);
  } finally {
    await run('umount', [merged]);
  }
});
