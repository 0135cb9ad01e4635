import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RangeSet } from '../../../src/binary/range-set.js';
import type { BlockDevice, ZeroOptions } from '../../../src/device/block-device.js';
import { Interceptor, type Passing } from '../../../src/device/layer/interceptor.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { DiskError } from '../../../src/error/disk-error.js';
import { giveBack } from '../../../src/task/sparsify/give-back.js';
import { UndoFile } from '../../../src/task/sparsify/undo/write-undo.js';
import { digestUsed } from '../../../src/task/sparsify/used-digest.js';
import { temporaryFolder } from '../../support/temporary.js';

const MiB = 1n << 20n;

/** Clears so many bytes of each range, and says that it cannot: of a device of several disks, the second may not. */
class ClearsPart extends Interceptor {
  constructor(
    below: BlockDevice,
    private readonly part: bigint,
  ) {
    super(below, 'a part cleared');
  }

  protected around<Result>({ operation }: Passing, next: () => Promise<Result>): Promise<Result> {
    return operation === 'write' ? Promise.reject(new DiskError('UNSUPPORTED', 'cannot write zeros either')) : next();
  }

  protected override async doZero(offset: bigint, length: bigint, options: ZeroOptions): Promise<void> {
    await this.below.zero(offset, this.part < length ? this.part : length, options);
    throw new DiskError('UNSUPPORTED', 'cannot clear the rest');
  }
}

test.each([
  { part: 0, kept: false },
  { part: 4096, kept: true },
])('what was given back in part is kept although the rest cannot be: %j', async ({ part, kept }) => {
  const undo = join(await temporaryFolder(), 'undo');
  const memory = memoryDevice(8n * MiB);
  await memory.write(Buffer.alloc(Number(8n * MiB), 'x'), 0n);
  await using disk = new ClearsPart(memory, BigInt(part));
  const trim = RangeSet.of([{ offset: 2n * MiB, length: 4n * MiB }]);
  {
    await using file = await UndoFile.create(undo, disk.facts.size);
    await file.begin(trim, await digestUsed(disk, trim, {}));
    await expect(giveBack(disk, { trim, wipe: RangeSet.empty }, file, {})).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    });
    expect(file.kept).toBe(kept ? 4n * MiB : 0n);
  }
  expect(existsSync(undo)).toBe(kept);
});
