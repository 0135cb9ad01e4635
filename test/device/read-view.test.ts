import { expect, test } from 'vitest';
import type { DeviceFacts } from '../../src/device/block-device.js';
import { Slice } from '../../src/device/layer/slice.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import { readView } from '../../src/device/read-view.js';

/** A disk that takes whole blocks only. */
class Blocks extends Slice {
  override readonly facts: DeviceFacts;

  constructor(size: bigint) {
    const below = memoryDevice(size);
    super(below, 0n, size);
    this.facts = { ...below.facts, blockSize: { ...below.facts.blockSize, minimum: 4096 } };
    this.disk = below;
  }

  private readonly disk: ReturnType<typeof memoryDevice>;

  protected override doClose(): Promise<void> {
    return this.disk.close();
  }
}

for (const [offset, length] of [
  [0n, 512],
  [440n, 4],
  [4090n, 12],
  [8190n, 10],
  [8200n, 0],
] as const) {
  test(`reads ${length} bytes at byte ${offset} of a disk that takes whole blocks only`, async () => {
    await using disk = new Blocks(8200n);
    await disk.write(
      Uint8Array.from({ length: 8200 }, (_, i) => i % 251),
      0n,
    );
    const view = await readView(disk, offset, length);
    const expected = Array.from({ length }, (_, i) => (Number(offset) + i) % 251);
    expect([...new Uint8Array(view.buffer, view.byteOffset, view.byteLength)]).toEqual(expected);
  });
}

test('refuses to read past the end, as the device does', async () => {
  await using disk = new Blocks(8200n);
  await expect(readView(disk, 8000n, 201)).rejects.toMatchObject({ code: 'USAGE' });
});
