import { chmod, link, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import { identify } from '../../src/host/file-identity.js';
import { findLoopDevices } from '../../src/host/loop-devices.js';
import { loopDevice } from '../support/loop-device.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const withLoop = needs({ programs: ['losetup'], root: true, devices: ['/dev/loop-control'] });

withLoop('finds all the devices on a file, also by another path and after that path is gone', async () => {
  const path = join(await temporaryFolder(), 'file');
  await writeFile(path, new Uint8Array(1 << 20));
  await link(path, `${path}.other`);
  const file = identify(await stat(path, { bigint: true }));
  expect(await findLoopDevices(file)).toEqual([]);
  const { path: first } = await loopDevice(`${path}.other`);
  const { path: second } = await loopDevice(path, '--read-only');
  await run('rm', [`${path}.other`]);
  const found = await findLoopDevices(file);
  expect(found).toHaveLength(2);
  expect(found).toContainEqual({ path: first, writable: true });
  expect(found).toContainEqual({ path: second, writable: false });
  if (process.getuid?.() !== 0) return;
  await chmod(dirname(path), 0o755);
  process.seteuid?.('nobody');
  try {
    // Without the right to ask the kernel, the paths are all there is: and the first one's is gone.
    expect(await findLoopDevices(file)).toEqual([{ path: second, writable: false }]);
  } finally {
    process.seteuid?.(0);
  }
});
