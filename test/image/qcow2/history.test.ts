import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect } from 'vitest';
import { needs } from '../../support/needs.js';
import {
  allBytes,
  convertedBytes,
  mappedExtents,
  openChain,
  ownExtents,
  ownMap,
  qemuMap,
} from '../../support/qcow2-image.js';
import { attempt, run } from '../../support/run.js';

const size = 2 << 20;
const kinds = [
  'compat=0.10',
  'cluster_size=512',
  'cluster_size=4k,refcount_bits=2',
  'cluster_size=64k',
  'compression_type=zstd,cluster_size=16k,lazy_refcounts=on',
  'extended_l2=on,cluster_size=16k',
  'extended_l2=on,cluster_size=64k,preallocation=metadata',
  'preallocation=metadata,cluster_size=4k',
  'data_file=',
];

const change = fc
  .record({
    // Whole blocks, whole clusters, and neither.
    unit: fc.constantFrom(65536, 16384, 4096, 512, 1),
    start: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.double({ min: 0, max: 1, noNaN: true }),
    byte: fc.integer({ min: 1, max: 255 }),
    how: fc.constantFrom('write', 'write', 'write -c', 'write -z', 'write -z -u', 'discard'),
  })
  .map(({ unit, start, length, byte, how }) => {
    const from = Math.floor((start * size) / unit) * unit;
    const most = Math.min(size - from, how === 'write -c' ? unit : 300_000);
    const count = Math.min(most, Math.ceil((length * most) / unit) * unit);
    const pattern = how === 'write' || how === 'write -c' ? ` -P ${byte}` : '';
    return `${how}${pattern} ${from} ${Math.max(1, count)}`;
  });
const history = fc.record({
  kind: fc.constantFrom(...kinds),
  backing: fc.constantFrom(undefined, 1 << 20, 3 << 20),
  phases: fc.array(fc.array(change, { minLength: 1, maxLength: 10 }), { minLength: 1, maxLength: 3 }),
});

async function live({ kind, backing, phases }: { kind: string; backing: number | undefined; phases: string[][] }) {
  const folder = await mkdtemp(join(tmpdir(), 'disktool-test-'));
  try {
    const path = join(folder, 'a.qcow2');
    const external = kind === 'data_file=';
    const below = kind.includes('preallocation') || backing === undefined ? [] : ['-b', 'below.img', '-F', 'raw'];
    await writeFile(join(folder, 'below.img'), Buffer.alloc(backing ?? 0, 0xbb));
    const options = external ? `${kind}${path}.raw` : kind;
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...below, '-o', options, path, `${size}`]);
    const snapshots: string[] = [];
    for (const [i, changes] of phases.entries()) {
      // What QEMU refuses, such as to compress what is there already, changes nothing.
      await attempt('qemu-io', ['-f', 'qcow2', '-d', 'unmap', ...changes.flatMap((command) => ['-c', command]), path]);
      if (external || i === phases.length - 1) continue;
      // Two bits count few references.
      const { status } = await attempt('qemu-img', ['snapshot', '-c', `snapshot ${i}`, path]);
      if (status === 0) snapshots.push(`snapshot ${i}`);
    }
    const device = await openChain(path);
    try {
      expect(Buffer.compare(await allBytes(device), await convertedBytes(path))).toBe(0);
      expect(await ownExtents(device)).toEqual(await mappedExtents(path));
      expect(await ownMap(device)).toEqual(await qemuMap(path));
    } finally {
      await device.close();
    }
    for (const snapshot of snapshots) {
      const shown = await openChain(path, { snapshot });
      try {
        expect(Buffer.compare(await allBytes(shown), await convertedBytes(path, snapshot))).toBe(0);
      } finally {
        await shown.close();
      }
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function liveMany(numRuns: number): Promise<void> {
  await fc.assert(fc.asyncProperty(history, live), {
    numRuns,
    endOnFailure: numRuns > 100,
    // Zeros at the start of a data file.
    examples: [[{ kind: 'data_file=', backing: undefined, phases: [['write -P 1 0 1', 'write -z 0 65536']] }]],
  });
}

const programs = ['qemu-img', 'qemu-io'] as const;
needs({ programs })('shows and maps 25 images, and each of their snapshots, as qemu-img does', () => liveMany(25));
needs({ programs, nightly: true })(
  'shows and maps 2000 images, and each of their snapshots, as qemu-img does',
  () => liveMany(2000),
  3_600_000,
);
