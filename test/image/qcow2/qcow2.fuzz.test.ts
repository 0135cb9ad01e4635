import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect } from 'vitest';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { DiskError } from '../../../src/error/disk-error.js';
import { openQcow2, readQcow2Header, readQcow2Snapshots } from '../../../src/image/qcow2/qcow2.js';
import { needs } from '../../support/needs.js';
import { deviceOf } from '../../support/qcow2-builder.js';
import { qemuIo } from '../../support/qcow2-image.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const kinds = [
  'cluster_size=4k',
  'extended_l2=on,cluster_size=16k,compression_type=zstd',
  'cluster_size=512,compat=0.10',
];
const tables = ['header', 'L1 table', 'L2 table', 'snapshot table'] as const;

interface Target {
  readonly bytes: Buffer;
  /** Where each of the tables lies. */
  readonly places: Record<(typeof tables)[number], { offset: number; size: number }>;
}

async function target(options: string): Promise<Target> {
  const path = join(await temporaryFolder(), 'a.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', options, path, '1M']);
  await qemuIo(path, ['write -P 1 0 20k', 'write -c -P 2 64k 16k', 'write -z 96k 32k', 'write -P 3 200k 3k']);
  await run('qemu-img', ['snapshot', '-c', 'one', path]);
  await run('qemu-img', ['snapshot', '-c', 'another', path]);
  await qemuIo(path, ['write -P 4 8k 20k', 'write -c -P 2 128k 16k']);
  const bytes = await readFile(path);
  await using file = await deviceOf(bytes);
  const { places, clusterSize } = await readQcow2Header(file);
  const l1 = Number(places.l1.offset);
  const l2 = Number(bytes.readBigUInt64BE(l1) & 0xfffffffffffe00n);
  return {
    bytes,
    places: {
      header: { offset: 0, size: 112 + 400 },
      'L1 table': { offset: l1, size: Math.min(places.l1.count * 8, 64) },
      'L2 table': { offset: l2, size: clusterSize },
      'snapshot table': { offset: Number(places.snapshots), size: 150 },
    },
  };
}

const value = fc.oneof(
  fc.constantFrom([0], [1], [2], [0x40], [0x7f], [0x80], [0xff], [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0, 0, 0, 0, 0]),
  fc.constantFrom(
    [0, 0, 0, 9],
    [0, 0, 0, 21],
    [0, 0, 2, 0],
    [0, 1, 0, 0],
    [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  ),
  fc.array(fc.nat(255), { minLength: 1, maxLength: 8 }),
);
const mutation = fc.record({
  at: fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 0.2, noNaN: true })),
  aligned: fc.constantFrom(1, 4, 8),
  bytes: value,
});

/** What may come of any bytes: an answer, or a refusal of ours. */
async function answer<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DiskError) return undefined;
    throw error;
  }
}

async function readAround(device: BlockDevice): Promise<void> {
  const { size } = device.facts;
  const length = size < 1n << 20n ? Number(size) : 1 << 20;
  await answer(() => device.read(new Uint8Array(length), 0n));
  for (let at = 0; at + 5000 < length; at += 50_000) await answer(() => device.read(new Uint8Array(5000), BigInt(at)));
  await answer(() => device.read(new Uint8Array(length), size - BigInt(length)));
  await answer(async () => {
    let at = 0n;
    let count = 0;
    for await (const extent of device.extents()) {
      expect(extent.offset).toBe(at);
      at += extent.length;
      if (++count === 3000) return;
    }
    expect(at).toBe(size);
  });
}

async function attack(file: BlockDevice, spare: BlockDevice): Promise<void> {
  const header = await answer(() => readQcow2Header(file));
  if (header === undefined) return;
  // Data and backing files are the caller's: a few bytes do.
  const options = {
    backing: header.backingFile === undefined ? undefined : spare,
    dataFile: header.dataFile === undefined ? undefined : spare,
  };
  const device = await answer(() => openQcow2(file, options));
  if (device !== undefined) await readAround(device);
  const snapshots = (await answer(() => readQcow2Snapshots(file, header))) ?? [];
  for (const { id } of snapshots.slice(0, 3)) {
    const shown = await answer(() => openQcow2(file, { ...options, snapshot: id }));
    if (shown !== undefined) await readAround(shown);
  }
}

async function fuzz(table: (typeof tables)[number], numRuns: number): Promise<void> {
  const before = process.memoryUsage().rss;
  let slowest = 0;
  for (const kind of kinds) {
    const { bytes, places } = await target(kind);
    const { offset, size } = places[table];
    // On a file without an end, only the reader itself can bound what it does.
    await using endless = memoryDevice(2n ** 60n);
    await using exact = memoryDevice(BigInt(bytes.length));
    await using spare = await deviceOf(new Uint8Array(10_000).fill(3));
    for (const device of [endless, exact]) await device.write(bytes, 0n);
    const good = bytes.subarray(offset, offset + size + 16);
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), fc.boolean(), async (mutations, toEnd) => {
        const file = toEnd ? exact : endless;
        const bad = Uint8Array.from(good);
        for (const { at, aligned, bytes: changed } of mutations) {
          const place = Math.floor((at * size) / aligned) * aligned;
          bad.set(changed.slice(0, bad.length - place), place);
        }
        await file.write(bad, BigInt(offset));
        const start = performance.now();
        try {
          await attack(file, spare);
        } finally {
          await file.write(good, BigInt(offset));
          slowest = Math.max(slowest, performance.now() - start);
        }
      }),
      { numRuns: Math.ceil(numRuns / kinds.length), seed: 1 },
    );
  }
  expect(slowest).toBeLessThan(5000);
  expect(process.memoryUsage().rss - before).toBeLessThan(300 << 20);
}

const programs = ['qemu-img', 'qemu-io'] as const;
for (const table of tables) {
  needs({ programs })(`500 changes of the ${table} end in an answer or a DiskError`, () => fuzz(table, 500), 180_000);
  needs({ programs, nightly: true })(
    `20000 changes of the ${table} end in an answer or a DiskError`,
    () => fuzz(table, 20_000),
    1_800_000,
  );
}
