import { expect, test } from 'vitest';
import type { BlockDevice } from '../../../src/device/block-device.js';
import type { Extent } from '../../../src/device/extent.js';
import { Layer } from '../../../src/device/layer/layer.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { openQcow2, Qcow2Device } from '../../../src/image/qcow2/qcow2.js';
import { describeReadOnlyDevice } from '../../conformance/block-device.js';
import { type BuiltCluster, buildQcow2, deviceOf } from '../../support/qcow2-builder.js';

const clusterSize = 512;

function filled(i: number): Uint8Array {
  return new Uint8Array(clusterSize).fill(1 + (i % 255));
}

/** Clusters of every kind, and what a disk over `below` shows. */
function mixture(count: number, below: Uint8Array): { clusters: BuiltCluster[]; bytes: Uint8Array } {
  const clusters: BuiltCluster[] = [];
  const bytes = new Uint8Array(count * clusterSize);
  bytes.set(below.subarray(0, bytes.length));
  for (let i = 0; i < count; i++) {
    const kind = ['data', 'data', 'deflated', 'unallocated', 'zero', 'data', 'unallocated', 'deflated'][(i * 5) % 8];
    const data = filled(i);
    if (kind === 'zero') clusters.push('zero');
    else if (kind === 'unallocated') clusters.push('unallocated');
    else clusters.push(kind === 'data' ? { data } : { deflated: data });
    if (kind !== 'unallocated') bytes.set(kind === 'zero' ? new Uint8Array(clusterSize) : data, i * clusterSize);
  }
  return { clusters, bytes };
}

describeReadOnlyDevice({
  name: 'Qcow2Device over memory',
  open: async () => {
    const size = 150 * clusterSize - 100;
    const { clusters, bytes } = mixture(150, new Uint8Array(0));
    const device = await openQcow2(await deviceOf(buildQcow2(clusters, size).file));
    return { device, bytes: bytes.subarray(0, size) };
  },
});

describeReadOnlyDevice({
  name: 'Qcow2Device over memory and a shorter backing',
  open: async () => {
    const size = 150 * clusterSize;
    const below = Uint8Array.from({ length: 100 * clusterSize - 77 }, (_, i) => 3 + (i % 250));
    const { clusters, bytes } = mixture(150, below);
    const file = await deviceOf(buildQcow2(clusters, size).file);
    return { device: await openQcow2(file, { backing: await deviceOf(below) }), bytes };
  },
});

/** Counts what reaches a device, and takes only whole blocks of it, as a disk does. */
class Watched extends Layer {
  readonly name: string;
  readonly reads: [offset: number, length: number][] = [];
  most = 0;
  #now = 0;

  constructor(below: BlockDevice, minimum = 1) {
    super(below, { blockSize: { ...below.facts.blockSize, minimum } });
    this.name = `watched ${below.name}`;
  }

  protected async doRead(into: Uint8Array, offset: bigint): Promise<void> {
    this.reads.push([Number(offset), into.length]);
    this.#now++;
    this.most = Math.max(this.most, this.#now);
    await new Promise((resolve) => setTimeout(resolve, 2));
    await this.below.read(into, offset);
    this.#now--;
  }

  protected doExtents(offset: bigint, length: bigint): Promise<readonly Extent[]> {
    return Promise.resolve([{ offset, length, allocated: true, zero: false }]);
  }

  protected doWrite(): Promise<void> {
    return Promise.reject(new Error('not here'));
  }

  protected doZero(): Promise<void> {
    return Promise.reject(new Error('not here'));
  }

  protected doTrim(): Promise<void> {
    return Promise.reject(new Error('not here'));
  }

  protected doFlush(): Promise<void> {
    return Promise.resolve();
  }
}

test('reads clusters in a row in the file by one request, over the end of an L2 table too', async () => {
  const count = 200;
  const image = buildQcow2(
    Array.from({ length: count }, (_, i) => ({ data: filled(i) })),
    count * clusterSize,
  );
  const file = new Watched(await deviceOf(image.file));
  await using device = await openQcow2(file);
  const bytes = new Uint8Array(count * clusterSize);
  await device.read(bytes, 0n);
  file.reads.length = 0;
  await device.read(bytes, 0n);
  expect(file.reads).toEqual([[(image.l2Offsets.at(-1) ?? 0) + clusterSize, bytes.length]]);
  expect(Buffer.compare(bytes, Buffer.concat(Array.from({ length: count }, (_, i) => filled(i))))).toBe(0);
});

test('has several requests in flight for what does not lie in a row, and never more than eight', async () => {
  const count = 60;
  const clusters = Array.from({ length: count }, (_, i) => (i % 2 === 0 ? { data: filled(i) } : ('zero' as const)));
  const file = new Watched(await deviceOf(buildQcow2(clusters, count * clusterSize).file));
  await using device = await openQcow2(file);
  await device.read(new Uint8Array(count * clusterSize), 0n);
  expect(file.most).toBe(8);
});

test('loads a table and a compressed cluster once for all who wait for it', async () => {
  const file = new Watched(await deviceOf(buildQcow2([{ deflated: filled(1) }], clusterSize).file));
  await using device = await openQcow2(file);
  file.reads.length = 0;
  const buffers = Array.from({ length: 20 }, () => new Uint8Array(100));
  await Promise.all(buffers.map((into, i) => device.read(into, BigInt(i))));
  expect(file.reads.length).toBe(2);
  expect(buffers.every((bytes) => bytes.every((byte) => byte === 2))).toBe(true);
});

test('reads from devices that take whole blocks only', async () => {
  const { clusters, bytes } = mixture(64, new Uint8Array(64 * clusterSize).fill(99));
  const image = buildQcow2(clusters, bytes.length);
  const file = new Watched(await deviceOf(image.file), 4096);
  const backing = new Watched(await deviceOf(new Uint8Array(64 * clusterSize).fill(99)), 4096);
  await using device = await openQcow2(file, { backing });
  expect(device.facts.blockSize.minimum).toBe(1);
  for (const [start, end] of [
    [0, bytes.length],
    [1, 700],
    [5000, 20_001],
  ] as const) {
    const found = new Uint8Array(end - start);
    await device.read(found, BigInt(start));
    expect(Buffer.compare(found, bytes.subarray(start, end))).toBe(0);
  }
});

test('leaves the buffer alone once a read has failed', async () => {
  const count = 40;
  const clusters = Array.from({ length: count }, (_, i) => (i % 2 === 0 ? { data: filled(i) } : ('zero' as const)));
  const image = buildQcow2(clusters, count * clusterSize);
  new DataView(image.file.buffer, image.file.byteOffset).setBigUint64((image.l2Offsets[0] ?? 0) + 6 * 8, 3n << 40n);
  await using device = await openQcow2(new Watched(await deviceOf(image.file)));
  const bytes = new Uint8Array(count * clusterSize);
  await expect(device.read(bytes, 0n)).rejects.toMatchObject({ code: 'CORRUPT' });
  bytes.fill(0xcc);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(bytes.every((byte) => byte === 0xcc)).toBe(true);
});

test('closes all that it was given, and nothing when it cannot be opened', async () => {
  const file = await deviceOf(buildQcow2(['unallocated'], clusterSize).file);
  const backing = memoryDevice(512n);
  const device = await openQcow2(file, { backing });
  expect(device).toBeInstanceOf(Qcow2Device);
  await device.close();
  const closed = { code: 'IO', errno: 'EBADF' };
  await expect(file.read(new Uint8Array(1), 0n)).rejects.toMatchObject(closed);
  await expect(backing.read(new Uint8Array(1), 0n)).rejects.toMatchObject(closed);

  await using other = memoryDevice(4096n);
  await using below = memoryDevice(4096n);
  await expect(openQcow2(other, { backing: below })).rejects.toMatchObject({ code: 'CORRUPT' });
  await other.read(new Uint8Array(1), 0n);
  await below.read(new Uint8Array(1), 0n);
});

test('keeps its name from the caller, or makes one of its file', async () => {
  const { file } = buildQcow2(['unallocated'], clusterSize);
  await using unnamed = await openQcow2(await deviceOf(file, 'a.img'));
  expect(unnamed.name).toBe('qcow2 of a.img');
  await using named = await openQcow2(await deviceOf(file, 'a.img'), { name: 'guest.qcow2' });
  expect(named.name).toBe('guest.qcow2');
});
