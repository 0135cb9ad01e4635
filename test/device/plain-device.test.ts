import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RangeSet } from '../../src/binary/range-set.js';
import type { BlockDevice } from '../../src/device/block-device.js';
import { HolesLayer } from '../../src/device/layer/holes.js';
import { Slice } from '../../src/device/layer/slice.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import { describePlain, openPlain } from '../../src/device/plain-device.js';
import { openImage } from '../../src/image/open-image.js';
import { loopDevice } from '../support/loop-device.js';
import { needs } from '../support/needs.js';
import { temporaryFolder } from '../support/temporary.js';

async function image(): Promise<string> {
  const path = join(await temporaryFolder(), 'a.img');
  await writeFile(path, randomBytes(100_000));
  return path;
}

/** The device as another thread has it must be the same in all that a client is told, and hold the same bytes. */
async function expectSame(device: BlockDevice): Promise<void> {
  const plain = describePlain(device);
  if (plain === undefined) throw new Error('it is no plain device');
  const { device: other, file } = openPlain(structuredClone(plain));
  expect({ ...other.facts, hostFile: { ...other.facts.hostFile } }).toEqual({ ...device.facts });
  const [ours, theirs] = [Buffer.alloc(3000), Buffer.alloc(3000)];
  await device.read(ours, 1000n);
  await other.read(theirs, 1000n);
  expect(theirs.equals(ours)).toBe(true);
  if (device.facts.writable) {
    await other.write(Buffer.from('written by the other'), 2000n);
    await device.read(ours, 1000n);
    expect(ours.toString('latin1', 1000, 1020)).toBe('written by the other');
  }
  await file.close();
  // The descriptor was borrowed: it is still open.
  await device.read(ours, 0n);
}

test('a file is the same device to another thread, whose close leaves it open', async () => {
  await using device = await openImage(await image(), { access: 'write' });
  await expectSame(device);
});

test('a file that is only read stays so', async () => {
  await using device = await openImage(await image(), { access: 'read' });
  await expectSame(device);
});

test('memory of 2^63 - 1 bytes is the same device to another thread', async () => {
  await using device = memoryDevice(2n ** 63n - 1n);
  await expectSame(device);
});

test('a slice of a slice is the same device to another thread', async () => {
  await using device = await openImage(await image(), { access: 'write' });
  await expectSame(new Slice(new Slice(device, 1111n, 90_000n), 333n, 50_000n));
});

needs({ root: true, programs: ['losetup'] })('a block device is the same device to another thread', async () => {
  const { path: loop } = await loopDevice(await image());
  await using device = await openImage(loop, { access: 'write' });
  await expectSame(device);
});

test('a layer is no plain device: another thread would go round it', async () => {
  await using device = new HolesLayer(memoryDevice(1n << 20n), RangeSet.empty);
  expect(describePlain(device)).toBeUndefined();
});
