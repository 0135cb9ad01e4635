import fc from 'fast-check';
import { expect } from 'vitest';
import type { RangeSet } from '../../../src/binary/range-set.js';
import { DiskError } from '../../../src/error/disk-error.js';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { readFreeSpace } from '../../../src/filesystem/ext/free-space.js';
import { extGroup, extGroupHigh, extMmp, extSuperblock } from '../../../src/filesystem/ext/on-disk.js';
import { readSuperblock } from '../../../src/filesystem/ext/superblock.js';
import { extImage } from '../../support/ext-image.js';
import { inMemory, sealBytes } from '../../support/ext-memory.js';
import { fieldChange, type Structure } from '../../support/field-changes.js';
import { needs } from '../../support/needs.js';

/** Shapes whose descriptors carry no checksum, so that a change of them is read. */
const shapes: Readonly<Record<string, { readonly mke2fs: string; readonly descriptor: number }>> = {
  'descriptors of 32 bytes': { mke2fs: '-t ext4 -b 1024 -g 1024 -O ^64bit,^metadata_csum,^uninit_bg', descriptor: 32 },
  'descriptors of 64 bytes': { mke2fs: '-t ext4 -b 1024 -g 1024 -O 64bit,^metadata_csum,^uninit_bg', descriptor: 64 },
  'bigalloc and meta_bg': {
    mke2fs: '-t ext4 -b 1024 -O bigalloc,meta_bg,^resize_inode,^64bit,^metadata_csum,^uninit_bg -C 4096 -g 1024',
    descriptor: 32,
  },
  'multiple mount protection': {
    mke2fs: '-t ext4 -b 1024 -g 1024 -O mmp,^64bit,^metadata_csum,^uninit_bg',
    descriptor: 32,
  },
};

const superblock = 1024;
const descriptors = 2048;
/** Bytes that hold the superblock and the descriptors of the first groups. */
const head = 4096;

async function fuzz({ mke2fs, descriptor }: { mke2fs: string; descriptor: number }, runs: number): Promise<void> {
  const { path } = await extImage({ mke2fs, size: '8M' }, 20);
  // On a device without an end, only the parser itself can bound what it does.
  await using device = await inMemory(path, 2n ** 60n);
  const { mmpBlock, blockSize } = await readSuperblock(device);
  // The head of the device, and behind it the block of multiple mount protection, wherever that lies.
  const good = new Uint8Array(head + extMmp.size);
  const mmpOffset = BigInt(mmpBlock * blockSize);
  await device.read(good.subarray(0, head), 0n);
  await device.read(good.subarray(head), mmpOffset);
  const groups: Structure[] = [0, 1, 2, 3].flatMap((group) => {
    const base = descriptors + group * descriptor;
    const high = { layout: extGroupHigh, base: base + extGroup.size };
    return [{ layout: extGroup, base }, ...(descriptor > extGroup.size ? [high] : [])];
  });
  const structures: Structure[] = [
    { layout: extSuperblock, base: superblock },
    ...groups,
    ...(mmpBlock === 0 ? [] : [{ layout: extMmp, base: head }]),
  ];
  let answers = 0;
  const answer = async (work: () => Promise<RangeSet>) => {
    const free = await work().catch((error: unknown) => {
      if (error instanceof DiskError) return undefined;
      throw error;
    });
    if (free === undefined) return;
    answers++;
    for (const { offset } of free) expect(offset).toBeGreaterThanOrEqual(2048n);
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(fieldChange(structures), { minLength: 1, maxLength: 3 }),
      fc.boolean(),
      async (changes, sealed) => {
        const image = Uint8Array.from(good);
        for (const { apply } of changes) apply(image);
        if (sealed) sealBytes(image.subarray(superblock, superblock + extSuperblock.size));
        await device.write(image.subarray(head), mmpOffset);
        await device.write(image.subarray(0, head), 0n);
        await answer(async () => await (await openExt(device)).freeSpace());
        // The state stands in the way of most: the rest must stand without it.
        await answer(async () => await readFreeSpace(device, await readSuperblock(device), {}));
      },
    ),
    { numRuns: runs, seed: 1 },
  );
  // Else every change would have been refused at the door.
  expect(answers).toBeGreaterThan(runs / 10);
}

const programs = ['mke2fs', 'debugfs'] as const;
for (const [name, shape] of Object.entries(shapes)) {
  // Whoever opens an image under multiple mount protection has to wait some seconds first.
  const slow = shape.mke2fs.includes('mmp');
  needs({ programs, slow })(`500 changes of fields of ext with ${name} end in an answer or a DiskError`, () =>
    fuzz(shape, 500),
  );
  needs({ programs, nightly: true })(
    `20000 changes of fields of ext with ${name} end in an answer or a DiskError`,
    () => fuzz(shape, 20_000),
    1_800_000,
  );
}
