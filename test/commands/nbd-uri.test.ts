import { spawn } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished } from 'vitest';
import { NbdDevice } from '../../src/nbd/index.js';
import { allocatedSize, filesOf, guestDiskPrograms, makeGuestDisk } from '../support/guest-disk.js';
import { until } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { disktool, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

/** A guest disk behind a server of somebody else's. */
async function served() {
  const folder = await temporaryFolder();
  const disk = await makeGuestDisk({ in: folder });
  const socket = join(folder, 's');
  const child = spawn('nbdkit', ['-f', '-U', socket, 'file', disk.image], { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill();
    await ended;
  };
  onTestFinished(stop);
  const uri = `nbd+unix:///?socket=${socket}`;
  await until(async () => {
    const device = await NbdDevice.connect(uri, { access: 'read' }).catch(() => undefined);
    await device?.close();
    return device !== undefined;
  });
  return { folder, disk, uri, stop };
}

describe('an NBD URI stands for an image', () => {
  const it = needs({ programs: ['nbdkit', ...guestDiskPrograms] });

  it('in filesystems and download, with the same outcome', async () => {
    const { folder, disk, uri } = await served();
    const listed = await disktool(['filesystems', '--json', uri]);
    const ofFile = await disktool(['filesystems', '--json', '--force-share', disk.image]);
    expect(JSON.parse(listed.stdout).entries ?? listed.stdout).toEqual(
      JSON.parse(ofFile.stdout).entries ?? ofFile.stdout,
    );
    const out = join(folder, 'out.img');
    expect((await disktool(['download', uri, '/dev/sda1', out])).status).toBe(0);
    await run('cmp', ['-n', String(disk.rootSize), '-i', `0:${disk.rootOffset}`, out, disk.image]);
  });

  it('in copy, and in copy without the free space', async () => {
    const { folder, disk, uri } = await served();
    const [whole, small] = [join(folder, 'whole.img'), join(folder, 'small.img')];
    expect((await disktool(['copy', uri, whole])).status).toBe(0);
    await run('cmp', [disk.image, whole]);
    expect((await disktool(['copy', '--sparsify', uri, small])).status).toBe(0);
    expect(await allocatedSize(small)).toBeLessThan((await allocatedSize(whole)) * 0.6);
    const root = (image: string) => ({ root: `${image}?offset=${disk.rootOffset}` });
    expect(await filesOf(root(small), await temporaryFolder())).toEqual(await filesOf(disk, await temporaryFolder()));
  });

  it('in sparsify, which gives room back over the wire and keeps every file', async () => {
    const { folder, disk, uri, stop } = await served();
    const before = join(folder, 'before.img');
    await copyFile(disk.image, before);
    const room = await allocatedSize(disk.image);
    expect((await disktool(['sparsify', '--dry-run', uri])).status).toBe(0);
    await run('cmp', [disk.image, before]);
    const { status, stderr } = await disktool(['sparsify', '--quiet', uri]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    await stop();
    expect(await allocatedSize(disk.image)).toBeLessThan(room * 0.6);
    const root = { root: `${before}?offset=${disk.rootOffset}` };
    expect(await filesOf(disk, await temporaryFolder())).toEqual(await filesOf(root, await temporaryFolder()));
    await run('e2fsck', ['-fn', disk.root]);
  });

  it('in serve, which hands it on', async () => {
    const { uri } = await served();
    const { status, stdout } = await disktool(['serve', uri, '--read-only', '--run', 'nbdinfo --size "$uri"']);
    expect({ status, stdout }).toEqual({ status: 0, stdout: String(96 << 20) });
  });
});
