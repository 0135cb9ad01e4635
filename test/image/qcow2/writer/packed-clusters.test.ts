import { expect, test } from 'vitest';
import { HostFile } from '../../../../src/image/qcow2/writer/host-file.js';
import { PackedClusters } from '../../../../src/image/qcow2/writer/packed-clusters.js';
import { noise } from '../../../support/qcow2-written.js';

const clusterSize = 4096;

function make() {
  const file = Buffer.alloc(8 << 20, 0xee);
  const target = { write: async (from: Uint8Array, offset: bigint) => file.set(from, Number(offset)) };
  const host = new HostFile(target, { clusterBits: 12, clusterSize, compression: 'zlib' });
  return { file, host, packed: new PackedClusters(host) };
}

test('nothing but zeros lies behind what was packed, to the end of its cluster', async () => {
  const { file, host, packed } = make();
  let end = 0;
  for (let i = 0; i < 700; i++) end = (await packed.add(noise(2001))) + 2001;
  await packed.close();
  expect(host.end * clusterSize).toBe(Math.ceil(end / clusterSize) * clusterSize);
  const rest = file.subarray(end, host.end * clusterSize);
  expect(rest.length).toBeGreaterThan(0);
  expect(rest.every((byte) => byte === 0)).toBe(true);
  expect(file[host.end * clusterSize]).toBe(0xee);
});

test('one lies right behind the other, whatever is placed meanwhile, until the run ends', async () => {
  const { file, host, packed } = make();
  const bytes = Array.from({ length: 200 }, (_, i) => noise(1 + ((i * 1931) % (clusterSize - 1))));
  const places: number[] = [];
  const plain = noise(clusterSize);
  for (const part of bytes) {
    places.push(await packed.add(part));
    await host.append(plain);
  }
  await packed.close();
  let gaps = 0;
  for (const [i, part] of bytes.entries()) {
    const place = places[i] ?? 0;
    expect(Buffer.compare(file.subarray(place, place + part.length), part)).toBe(0);
    if (place + part.length !== places[i + 1]) gaps++;
  }
  // Runs of 1, 2, 4 and 8 clusters, then of 16; the last one ends with nothing behind it.
  expect(gaps).toBeLessThanOrEqual(5 + Math.ceil((200 * clusterSize) / 2 / (15 * clusterSize)));
});
