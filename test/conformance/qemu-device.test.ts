import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlockDevice } from '../../src/device/block-device.js';
import { openImage } from '../../src/image/open-image.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';
import { describeBlockDevice } from './block-device.js';

/** An empty image of a format, which is gone when the device has been closed. */
async function qemuDevice(size: bigint, format: 'qcow2' | 'vdi', access: 'read' | 'write'): Promise<BlockDevice> {
  const folder = await mkdtemp(join(tmpdir(), 'disktool-test-'));
  const path = join(folder, 'image');
  await run('qemu-img', ['create', '-q', '-f', format, path, String(size)]);
  const device = await openImage(path, { access, format });
  const close = device.close.bind(device);
  let closed: Promise<void> | undefined;
  device.close = () => {
    closed ??= close().finally(() => rm(folder, { recursive: true }));
    return closed;
  };
  return device;
}

describeBlockDevice({
  name: 'QemuDevice',
  open: (size) => qemuDevice(size, 'qcow2', 'write'),
  openReadOnly: (size) => qemuDevice(size, 'vdi', 'read'),
  sizes: [512n, 3n << 20n, 2n ** 42n],
  it: needs({ programs: ['qemu-img', 'qemu-nbd'] }),
});
