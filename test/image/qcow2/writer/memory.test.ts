import { expect, test } from 'vitest';
import { depthFor } from '../../../../src/image/qcow2/writer/compress-queue.js';
import { Qcow2Writer } from '../../../../src/image/qcow2/writer/qcow2-writer.js';
import { noise, text } from '../../../support/qcow2-written.js';

const mib = 1 << 20;

/** Cluster size, compression, MiB of data, MiB of memory that come on top at most. */
const cases = [
  [65536, 'none', 65536, 64],
  [512, 'none', 512, 64],
  [65536, 'zlib', 64, 128],
  [65536, 'zstd', 256, 128],
  [2 * mib, 'zstd', 256, 192],
] as const;
for (const [clusterSize, compression, data, most] of cases) {
  test(`takes at most ${most} MiB for ${data} MiB of data, in clusters of ${clusterSize} bytes: ${compression}`, async () => {
    const bytes = compression === 'none' ? noise(2 * mib) : text(2 * mib);
    const size = BigInt(data * mib);
    let fileBytes = 0;
    const target = {
      async write(from: Uint8Array) {
        fileBytes += from.length;
      },
    };
    const before = process.memoryUsage.rss();
    const writer = new Qcow2Writer(target, { size, clusterSize, compression });
    let highest = before;
    for (let at = 0n; at < size; at += BigInt(bytes.length)) {
      await writer.write(bytes, at);
      highest = Math.max(highest, process.memoryUsage.rss());
    }
    const { fileSize } = await writer.finish();
    expect(BigInt(fileBytes)).toBe(fileSize);
    expect((highest - before) / mib).toBeLessThan(most);
  }, 60_000);
}

test('keeps more clusters under way than there are cores, and no more than 64 MiB of them', () => {
  for (const cores of [1, 2, 4, 8, 64, 256]) {
    for (let clusterSize = 512; clusterSize <= 2 * mib; clusterSize *= 2) {
      const depth = depthFor(clusterSize, cores);
      expect(depth).toBeGreaterThanOrEqual(Math.min(16, 2 * cores));
      expect(depth).toBeLessThanOrEqual(64);
      expect(depth * clusterSize * 2).toBeLessThanOrEqual(64 * mib);
    }
  }
});
