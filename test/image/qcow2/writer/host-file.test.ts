import { describe, expect, test } from 'vitest';
import { HostFile } from '../../../../src/image/qcow2/writer/host-file.js';

const target = { write: async () => {} };
const plan = (clusterBits: number, compression: 'none' | 'zlib') => {
  return { clusterBits, clusterSize: 2 ** clusterBits, compression };
};

describe('the end of the file', () => {
  for (const [clusterBits, compression, most, why] of [
    [9, 'none', 2 ** 37, "QEMU's largest refcount table"],
    [16, 'none', 2 ** 51, "QEMU's largest refcount table"],
    [16, 'zlib', 2 ** 51, "QEMU's largest refcount table"],
    [21, 'none', 2 ** 53 - 2 ** 21, 'exact numbers'],
    [21, 'zlib', 2 ** 49, 'the offsets of compressed clusters'],
  ] as const) {
    test(`does not pass ${most} bytes with clusters of 2^${clusterBits}, ${compression}: ${why}`, () => {
      const host = new HostFile(target, plan(clusterBits, compression));
      const clusters = most / 2 ** clusterBits;
      expect(host.take(clusters - 1)).toBe(1);
      const words = new RegExp(`has at most ${most}: choose larger clusters`);
      expect(() => host.take(1)).toThrow(
        expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringMatching(words) }),
      );
    });
  }
});

test('a cluster is referred to 65535 times at most', () => {
  const host = new HostFile(target, plan(16, 'zlib'));
  const cluster = host.take(1);
  for (let i = 0; i < 65535; i++) host.refer(cluster, 1);
  expect(() => host.refer(cluster, 1)).toThrow(/65535 times at most/);
});

test('a refcount block is written once all of its clusters lie below, and not before', async () => {
  const offsets: bigint[] = [];
  const host = new HostFile({ write: async (_, offset) => void offsets.push(offset) }, plan(9, 'none'));
  host.refer(host.take(600), 600);
  await host.settle(255);
  expect(offsets).toEqual([]);
  await host.settle(256);
  expect(offsets).toEqual([601n * 512n]);
  expect(() => host.refer(255, 1)).toThrow(/has been written/);
  await host.settle(host.end);
  expect(offsets).toEqual([601n * 512n, 602n * 512n]);
  const table = await host.finish();
  expect(table).toEqual({ first: 604, count: 1 });
  expect(host.end).toBe(605);
});
