import { deflateRawSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { viewOf } from '../../../src/binary/layout.js';
import type { BlockDevice } from '../../../src/device/block-device.js';
import type { Extent } from '../../../src/device/extent.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import {
  QCOW_OFLAG_COMPRESSED,
  QCOW_OFLAG_ZERO,
  qcow2Header,
  qcow2Header3,
  snapshotEntry,
  snapshotExtraData,
} from '../../../src/image/qcow2/on-disk.js';
import { openQcow2, readQcow2Header, readQcow2Snapshots } from '../../../src/image/qcow2/qcow2.js';
import { type BuiltImage, buildQcow2, deviceOf } from '../../support/qcow2-builder.js';

const clusterSize = 512;
const data = { data: new Uint8Array(clusterSize).fill(7) };

function built(): BuiltImage & { view: DataView; l2: number } {
  const deflated = Uint8Array.from({ length: clusterSize }, (_, i) => (i * i) >> 3);
  const image = buildQcow2([data, { deflated }, 'zero', 'unallocated', data], 5 * clusterSize);
  return { ...image, view: viewOf(image.file), l2: image.l2Offsets[0] ?? 0 };
}

async function extentsOf(device: BlockDevice): Promise<Extent[]> {
  const extents: Extent[] = [];
  for await (const extent of device.extents()) extents.push(extent);
  return extents;
}

/** Reads all and maps all of an image, each of which must end in the same refusal. */
async function expectRefusal(file: Uint8Array, code: string, message: RegExp, mapped = true): Promise<void> {
  await using device = await openQcow2(await deviceOf(file, 'a.img'));
  const refusal = { name: 'DiskError', code, message: expect.stringMatching(message) };
  await expect(device.read(new Uint8Array(Number(device.facts.size)), 0n)).rejects.toMatchObject(refusal);
  if (mapped) await expect(extentsOf(device)).rejects.toMatchObject(refusal);
  // What is not damaged can still be read.
  const last = new Uint8Array(1);
  if (!/L1/.test(String(message))) await device.read(last, device.facts.size - 1n);
}

test('refuses an L1 table entry that is not aligned or names a table outside the file', async () => {
  const image = built();
  image.view.setBigUint64(image.l1Offset, BigInt(image.l2) + 512n * 99n);
  await expectRefusal(
    image.file,
    'CORRUPT',
    /^qcow2 L1 table entry at byte 0x200 of a\.img: L1E_OFFSET_MASK is 0xca00, /,
  );
  const large = buildQcow2([data], 4096, 12);
  viewOf(large.file).setBigUint64(large.l1Offset, 4096n + 512n);
  await expectRefusal(large.file, 'CORRUPT', /L1E_OFFSET_MASK is 0x1200, expected a multiple of 4096/);
});

test('refuses an L1 table that names more L2 tables than the file has room for', async () => {
  const image = buildQcow2([], 100 * 64 * clusterSize);
  const file = image.file.subarray(0, 20 * clusterSize);
  await expect(openQcow2(await deviceOf(file, 'a.img'))).rejects.toMatchObject({
    code: 'CORRUPT',
    message:
      'qcow2 L1 table at byte 0x200 of a.img: entries in use is 100, expected at most 20: the file has no room for more L2 tables',
  });
});

test('refuses a cluster that is not aligned, outside the file, or past 2^53', async () => {
  const image = buildQcow2([data, data], 8192, 12);
  const l2 = image.l2Offsets[0] ?? 0;
  const view = viewOf(image.file);
  view.setBigUint64(l2, 4096n * 3n + 512n);
  await expectRefusal(
    image.file,
    'CORRUPT',
    /^qcow2 L2 table entry at byte 0x2000 of a\.img: L2E_OFFSET_MASK is 0x3200, expected a multiple of 4096$/,
  );
  for (const offset of [BigInt(image.file.length), 1n << 53n, (1n << 56n) - 4096n]) {
    view.setBigUint64(l2, offset);
    await expectRefusal(
      image.file,
      'CORRUPT',
      /L2E_OFFSET_MASK is 0x[0-9a-f]+, expected below 0x5000, where the file ends$/,
    );
  }
});

test('reads zeros behind the end of a file that ends in its last cluster, as QEMU does', async () => {
  const image = buildQcow2([data], 512);
  await using device = await openQcow2(await deviceOf(image.file.subarray(0, image.file.length - 100)));
  const bytes = new Uint8Array(512).fill(0xee);
  await device.read(bytes, 0n);
  expect(bytes.subarray(0, 412).every((byte) => byte === 7)).toBe(true);
  expect(bytes.subarray(412).every((byte) => byte === 0)).toBe(true);
});

test('refuses a zero cluster in version 2', async () => {
  const image = built();
  qcow2Header.put(image.view, { version: 2 });
  await expectRefusal(image.file, 'CORRUPT', /L2 table entry at byte 0x410 .*QCOW_OFLAG_ZERO is 1, expected 0/);
});

test('refuses compressed clusters outside the file, cut short, damaged, too short or too long', async () => {
  const image = built();
  const entry = image.l2 + 8;
  const descriptor = image.view.getBigUint64(entry);
  const stored = Number(descriptor & 0xffffffn);
  image.view.setBigUint64(entry, QCOW_OFLAG_COMPRESSED | (1n << 60n));
  await expectRefusal(image.file, 'CORRUPT', /host cluster offset is 0x1000000000000000, expected below/);
  image.view.setBigUint64(entry, descriptor);

  const refused =
    /^qcow2 compressed cluster at byte 0x[0-9a-f]+ of a\.img: what comes of its \d+ bytes is .*, expected 512/;
  for (const stream of [
    Buffer.alloc(300, 0xff),
    deflateRawSync(Buffer.alloc(511, 3)),
    deflateRawSync(Buffer.alloc(513, 3)),
    deflateRawSync(Buffer.alloc(1 << 20)),
  ]) {
    const file = Uint8Array.from(image.file);
    file.set(stream.subarray(0, 505), stored);
    await expectRefusal(file, 'CORRUPT', refused, false);
  }
  // Nothing but the sector that it starts in.
  const file = Uint8Array.from(image.file);
  viewOf(file).setBigUint64(entry, QCOW_OFLAG_COMPRESSED | BigInt(stored + 504));
  await expectRefusal(file, 'CORRUPT', refused, false);
});

test('reads deflated clusters of any window, and without an end', async () => {
  const bits = 15;
  const size = 2 ** bits;
  // What repeats only at a distance of 16 KiB.
  let state = 1;
  const half = Uint8Array.from({ length: size / 2 }, () => {
    state = (state * 48271) % 0x7fffffff;
    return state & 0xff;
  });
  const bytes = Buffer.concat([half, half]);
  const stream = deflateRawSync(bytes, { windowBits: 15 });
  expect(stream.length).toBeLessThan(size / 2 + 1000);
  const image = buildQcow2([{ data: new Uint8Array(size) }], size, bits);
  const l2 = image.l2Offsets[0] ?? 0;
  const start = image.file.length - size;
  image.file.set(stream, start);
  const sectors = BigInt(Math.floor(stream.length / 512));
  viewOf(image.file).setBigUint64(l2, QCOW_OFLAG_COMPRESSED | (sectors << BigInt(70 - bits)) | BigInt(start));
  await using device = await openQcow2(await deviceOf(image.file));
  const found = Buffer.alloc(size);
  await device.read(found, 0n);
  expect(Buffer.compare(found, bytes)).toBe(0);
});

/** An image with one cluster of extended L2 entries, at 64 KiB, with the subclusters given. */
function extended(entry: bigint, zeroes: number, allocated: number): Uint8Array {
  const image = buildQcow2([{ data: new Uint8Array(65536).fill(7) }], 65536, 16);
  const view = viewOf(image.file);
  qcow2Header3.put(view, { incompatible_features: 16n });
  const l2 = image.l2Offsets[0] ?? 0;
  view.setBigUint64(l2, entry);
  view.setUint32(l2 + 8, zeroes);
  view.setUint32(l2 + 12, allocated);
  return image.file;
}

test('refuses subclusters that are both zero and allocated, or allocated in no cluster', async () => {
  const whole = async (file: Uint8Array, message: RegExp) => {
    await using device = await openQcow2(await deviceOf(file, 'a.img'));
    const refusal = { code: 'CORRUPT', message: expect.stringMatching(message) };
    await expect(device.read(new Uint8Array(10), 0n)).rejects.toMatchObject(refusal);
    await expect(extentsOf(device)).rejects.toMatchObject(refusal);
  };
  await whole(
    extended(3n << 16n, 3, 2),
    /at byte 0x20008 .*bits 32 to 63 is 0x3, with 0x2 below, expected no subcluster/,
  );
  await whole(extended(0n, 0, 2), /at byte 0x20008 .*bits 0 to 31 is 0x2, expected 0, since no cluster is allocated/);
});

test('reads each subcluster by its own bit', async () => {
  const zeroes = 0x8000_0f00;
  const allocated = 0x40f0_00ff;
  await using backing = memoryDevice(65536n);
  await backing.write(new Uint8Array(65536).fill(9), 0n);
  await using device = await openQcow2(await deviceOf(extended(3n << 16n, zeroes, allocated)), { backing });
  const bytes = new Uint8Array(65536);
  await device.read(bytes, 0n);
  for (let i = 0; i < 32; i++) {
    const wanted = (zeroes >>> i) & 1 ? 0 : (allocated >>> i) & 1 ? 7 : 9;
    const part = bytes.subarray(i * 2048, (i + 1) * 2048);
    expect([i, part.every((byte) => byte === wanted)]).toEqual([i, true]);
    const one = new Uint8Array(100);
    await device.read(one, BigInt(i * 2048 + 1000));
    expect([i, one.every((byte) => byte === wanted)]).toEqual([i, true]);
  }
});

test('refuses clusters of a data file that lie elsewhere than on the disk, or are compressed', async () => {
  const image = built();
  qcow2Header3.put(image.view, { incompatible_features: 4n });
  const open = async () =>
    await openQcow2(await deviceOf(image.file, 'a.img'), { dataFile: memoryDevice(BigInt(5 * clusterSize)) });
  for (const [entry, message] of [
    [1n << 62n, /QCOW_OFLAG_COMPRESSED is 1, expected 0, since there is a data file/],
    [1024n, /L2E_OFFSET_MASK is 0x400, expected 0x200, its place on the disk/],
  ] as const) {
    image.view.setBigUint64(image.l2, 1n << 63n);
    image.view.setBigUint64(image.l2 + 8, entry);
    await using device = await open();
    await device.read(new Uint8Array(512), 0n);
    const refusal = { code: 'CORRUPT', message: expect.stringMatching(message) };
    await expect(device.read(new Uint8Array(1), 512n)).rejects.toMatchObject(refusal);
    await expect(extentsOf(device)).rejects.toMatchObject(refusal);
  }
});

/** A snapshot table behind the image, and the image's header with it. */
function withSnapshots(count: number, values: Parameters<typeof snapshotEntry.put>[1], text = ''): Uint8Array {
  const image = built();
  const start = image.file.length;
  const file = Buffer.concat([image.file, new Uint8Array(512)]);
  qcow2Header.put(viewOf(file), { nb_snapshots: count, snapshots_offset: BigInt(start) });
  snapshotEntry.put(
    viewOf(file),
    { l1_table_offset: BigInt(image.l1Offset), l1_size: 1, extra_data_size: 16, ...values },
    start,
  );
  snapshotExtraData.put(viewOf(file), { disk_size: BigInt(5 * clusterSize) }, start + 40);
  file.write(text, start + 56, 'latin1');
  return file;
}

const snapshotDamages: [string, Uint8Array, string, RegExp][] = [
  [
    'more snapshots than the file has',
    withSnapshots(12, { id_str_size: 1, name_size: 60 }, '1one'),
    'CORRUPT',
    /^qcow2 snapshot table entry at byte 0x[0-9a-f]+ of a\.img: place is an entry up to byte \d+, expected inside the file/,
  ],
  [
    'a name that passes the end',
    withSnapshots(1, { id_str_size: 1, name_size: 60000 }, '1'),
    'CORRUPT',
    /name_size is an entry up to byte \d+, expected inside/,
  ],
  [
    'more extra data than anybody knows',
    withSnapshots(1, { id_str_size: 1, extra_data_size: 1025 }),
    'UNSUPPORTED',
    /extra_data_size is 1025, expected at most 1024/,
  ],
  [
    'an L1 table that is not aligned',
    withSnapshots(1, { id_str_size: 1, l1_table_offset: 513n }, '1'),
    'CORRUPT',
    /l1_table_offset is 0x201, expected a multiple of 512/,
  ],
  [
    'an L1 table outside the file',
    withSnapshots(1, { id_str_size: 1, l1_size: 4_000_000 }, '1'),
    'CORRUPT',
    /l1_table_offset is 0x200, expected a table of 4000000 entries inside the file/,
  ],
  [
    'an L1 table larger than any',
    withSnapshots(1, { id_str_size: 1, l1_size: 5_000_000 }, '1'),
    'UNSUPPORTED',
    /l1_size is 5000000, expected at most 4194304/,
  ],
];
for (const [what, file, code, message] of snapshotDamages) {
  test(`refuses a snapshot table with ${what}, and shows the current disk all the same`, async () => {
    await using device = await openQcow2(await deviceOf(file, 'a.img'));
    await device.read(new Uint8Array(512), 0n);
    await expect(openQcow2(await deviceOf(file, 'a.img'), { snapshot: '1' })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });
}

test('reads what a short L1 table of a snapshot leaves out as not allocated', async () => {
  await using device = await openQcow2(
    await deviceOf(withSnapshots(1, { id_str_size: 1, l1_size: 0, l1_table_offset: 0n }, '1')),
    { snapshot: '1' },
  );
  expect(await extentsOf(device)).toEqual([{ offset: 0n, length: 2560n, allocated: false, zero: true }]);
});

test('reads 65536 snapshots within seconds', async () => {
  const image = built();
  const stride = 64;
  await using file = memoryDevice(BigInt(image.file.length + 65536 * stride));
  const table = Buffer.alloc(65536 * stride);
  for (let i = 0; i < 65536; i++) {
    snapshotEntry.put(viewOf(table), { id_str_size: 5, name_size: 1, extra_data_size: 16 }, i * stride);
    table.write(`${i}`, i * stride + 56, 'latin1');
  }
  qcow2Header.put(image.view, { nb_snapshots: 65536, snapshots_offset: BigInt(image.file.length) });
  await file.write(image.file, 0n);
  await file.write(table, BigInt(image.file.length));
  const start = performance.now();
  const snapshots = await readQcow2Snapshots(file, await readQcow2Header(file));
  expect(snapshots.length).toBe(65536);
  expect(snapshots[54321]?.id).toBe('54321');
  expect(performance.now() - start).toBeLessThan(5000);
});

/** An image of the largest disk, in a file that is all hole, with an L1 table of 32 MiB. */
async function largest(): Promise<BlockDevice> {
  const file = memoryDevice(1n << 50n);
  const header = new Uint8Array(512);
  const view = viewOf(header);
  const l1 = 1n << 21n;
  const values = { magic: 'QFI\xfb', version: 3, cluster_bits: 21, l1_size: 1 << 22, l1_table_offset: l1 };
  qcow2Header.put(view, { ...values, size: 2n ** 61n - 1n });
  qcow2Header3.put(view, { refcount_order: 4, header_length: 104 });
  await file.write(header, 0n);
  return file;
}

test('maps a hole of 2^61 bytes at once, and reads from its end', async () => {
  const start = performance.now();
  await using device = await openQcow2(await largest());
  expect(await extentsOf(device)).toEqual([{ offset: 0n, length: 2n ** 61n - 1n, allocated: false, zero: true }]);
  const bytes = new Uint8Array(100).fill(1);
  await device.read(bytes, 2n ** 61n - 101n);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
  expect(performance.now() - start).toBeLessThan(5000);
});

test('maps a hole of 2^61 bytes over a backing of many extents within seconds', async () => {
  const backing = memoryDevice(1n << 40n);
  for (let i = 0; i < 5000; i++) await backing.write(Uint8Array.of(1), BigInt(i) << 20n);
  const start = performance.now();
  await using device = await openQcow2(await largest(), { backing });
  const extents = await extentsOf(device);
  expect(extents.length).toBe(10_000);
  expect(extents.at(-1)?.length).toBe(2n ** 61n - 1n - (4999n << 20n) - 4096n);
  expect(performance.now() - start).toBeLessThan(10_000);
});

test('reads data far behind 2^53 on the disk', async () => {
  const file = await largest();
  const index = (1n << 22n) - 1n;
  const l2 = 1n << 40n;
  const entry = new Uint8Array(8);
  viewOf(entry).setBigUint64(0, l2);
  await file.write(entry, (1n << 21n) + index * 8n);
  viewOf(entry).setBigUint64(0, 1n << 41n);
  await file.write(entry, l2 + ((1n << 18n) - 1n) * 8n);
  await file.write(new Uint8Array(1 << 21).fill(5), 1n << 41n);
  await using device = await openQcow2(file);
  const bytes = new Uint8Array(3);
  await device.read(bytes, 2n ** 61n - 4n);
  expect([...bytes]).toEqual([5, 5, 5]);
  const cluster = 1n << 21n;
  expect(await extentsOf(device)).toEqual([
    { offset: 0n, length: 2n ** 61n - cluster, allocated: false, zero: true },
    { offset: 2n ** 61n - cluster, length: cluster - 1n, allocated: true, zero: false },
  ]);
});

test('takes no more than 300 MB for the largest tables', async () => {
  const before = process.memoryUsage().rss;
  const file = await largest();
  await using device = await openQcow2(file);
  const entries = new Uint8Array(8 * 400);
  for (let i = 0; i < 400; i++) viewOf(entries).setBigUint64(i * 8, BigInt(i + 100) << 21n);
  await file.write(entries, 1n << 21n);
  await using other = await openQcow2(file);
  const reads = Array.from({ length: 400 }, (_, i) => other.read(new Uint8Array(1), BigInt(i) << 39n));
  await Promise.all(reads);
  expect(process.memoryUsage().rss - before).toBeLessThan(300 << 20);
  expect(device.facts.size).toBe(2n ** 61n - 1n);
});

test('says nothing of an entry that nobody asks for', async () => {
  const image = built();
  image.view.setBigUint64(image.l2 + 8, QCOW_OFLAG_ZERO | (1n << 50n));
  image.view.setBigUint64(image.l2, 1n << 50n);
  await using device = await openQcow2(await deviceOf(image.file));
  const bytes = new Uint8Array(512);
  await device.read(bytes, 4n * 512n);
  expect(bytes.every((byte) => byte === 7)).toBe(true);
  // Where a zero cluster would lie is not looked at, but that it is aligned.
  await device.read(bytes, 512n);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
});
