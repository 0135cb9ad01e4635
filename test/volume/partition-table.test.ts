import { truncate } from 'node:fs/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { memoryDevice } from '../../src/device/memory-device.js';
import { DiskError } from '../../src/error/disk-error.js';
import { gptEntry, gptHeader } from '../../src/volume/gpt/on-disk.js';
import { biosParameterBlock, masterBootRecord, partitionRecord } from '../../src/volume/mbr/on-disk.js';
import { readPartitionTable } from '../../src/volume/partition-table.js';
import { needs } from '../support/needs.js';
import { asPartx, change, partitioned, partx, patch, readTable, seal } from '../support/partition-image.js';
import { run } from '../support/run.js';

const it = needs({ programs: ['sfdisk', 'partx', 'blkid'] });
const sector = 512;
const size = 64 * 1024 * 1024;
const primary = sector;
const backup = size - sector;
const records = masterBootRecord.fields.PartitionRecord.offset;
const gptScript = 'label: gpt\n2048,2048,L\n4096,8192,L\n';
const mbrScript = 'label: dos\nlabel-id: 0x1234abcd\n2048,2048,83\n4096,20000,5\n6144,2048,83\n10240,2048,82\n';

for (const bytes of [0n, 1n, 511n, 512n, 513n, 1024n, 4096n, 2n ** 63n - 1n]) {
  test(`finds no table on an empty disk of ${bytes} bytes`, async () => {
    await using device = memoryDevice(bytes);
    expect(await readPartitionTable(device)).toMatchObject({ kind: 'none', partitions: [], warnings: [] });
  });
}

for (const bytes of [512, 1024, 1536, 16_384]) {
  it(`refuses or reads a GPT cut off after ${bytes} bytes, and never fails otherwise`, async () => {
    const path = await partitioned(gptScript);
    await truncate(path, bytes);
    await expect(readTable(path)).rejects.toMatchObject({ code: 'CORRUPT' });
  });
  it(`marks all partitions of an MBR cut off after ${bytes} bytes`, async () => {
    const path = await partitioned(mbrScript);
    await truncate(path, bytes);
    const { partitions } = await readTable(path);
    expect(partitions.map(({ number, problem }) => [number, problem])).toEqual([
      [1, 'past-end'],
      [2, 'past-end'],
    ]);
  });
}

it('takes an MBR without partitions as one', async () => {
  const path = await partitioned('label: dos\nlabel-id: 0x1234abcd\n');
  expect(await readTable(path)).toMatchObject({ kind: 'mbr', uuid: '1234abcd', partitions: [], warnings: [] });
  expect(await run('blkid', ['-p', '-o', 'value', '-s', 'PTTYPE', path])).toBe('dos');
});

it('goes by a plain MBR before a stale GPT, as partx does', async () => {
  const path = await partitioned(gptScript);
  await patch(path, records, partitionRecord, { OSType: 0x83, StartingLBA: 2048, SizeInLBA: 4096 });
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table).toMatchObject({ kind: 'mbr', ignored: 'gpt' });
  expect(table.warnings).toEqual([expect.stringContaining('a sound GPT is ignored')]);
});

it('finds no table where the protective MBR is gone, as partx does, and says that a GPT is there', async () => {
  const path = await partitioned(gptScript);
  await change(path, 0, sector, (bytes) => bytes.fill(0));
  const table = await readTable(path);
  expect(await partx(path)).toEqual([]);
  expect(table).toMatchObject({ kind: 'none', partitions: [], ignored: 'gpt' });
  expect(table.warnings).toEqual([expect.stringContaining('no protective MBR announces it')]);
});

it('finds no table where a boot indicator is neither 0 nor 0x80, as partx does', async () => {
  const path = await partitioned(mbrScript);
  await patch(path, records + 3 * partitionRecord.size, partitionRecord, { BootIndicator: 0x4f });
  expect(await partx(path)).toEqual([]);
  expect(await readTable(path)).toMatchObject({ kind: 'none', warnings: [] });
});

const formats = [
  ['mkfs.fat', ['-F', '12']],
  ['mkfs.fat', ['-F', '16']],
  ['mkfs.fat', ['-F', '32', '-S', '512']],
  ['mkfs.ntfs', ['-q', '-F']],
  ['mkfs.exfat', []],
  ['mke2fs', ['-q', '-F']],
] as const;
for (const [program, args] of formats) {
  needs({ programs: [program, 'partx'] })(
    `does not take the boot sector of a filesystem for an MBR: ${program} ${args.join(' ')}`,
    async () => {
      const path = await partitioned();
      await run(program, [...args, path]);
      expect(await partx(path)).toEqual([]);
      expect(await readTable(path)).toMatchObject({ kind: 'none', partitions: [], warnings: [] });
    },
  );
}

needs({ programs: ['mkfs.fat', 'partx'] })(
  'calls a first sector that is of a filesystem and has partitions ambiguous',
  async () => {
    const path = await partitioned();
    await run('mkfs.fat', [path]);
    await patch(path, records, partitionRecord, { OSType: 0x83, StartingLBA: 2048, SizeInLBA: 4096 });
    expect(await partx(path)).toEqual([]);
    const table = await readTable(path);
    expect(table).toMatchObject({ kind: 'none', ignored: 'mbr' });
    expect(table.warnings).toEqual([expect.stringContaining('is of a FAT filesystem and holds partitions too')]);
  },
);

it('takes an MBR over the parameter block that a filesystem left behind as an MBR', async () => {
  const path = await partitioned(mbrScript);
  // A boot loader keeps these fields, and wipefs takes the name away.
  await patch(path, 0, biosParameterBlock, { BPB_BytsPerSec: 512, BPB_SecPerClus: 4, BPB_NumFATs: 2 });
  const table = await readTable(path);
  expect(table.kind).toBe('mbr');
  expect(asPartx(table)).toEqual(await partx(path));
});

it('refuses a disk with a sound GPT for either size of sector', async () => {
  const path = await partitioned(gptScript);
  // A short array leaves room for the other header.
  await patch(path, primary, gptHeader, { NumberOfPartitionEntries: 4 });
  await seal(path, primary);
  const header = new Uint8Array(gptHeader.size);
  await change(path, primary, gptHeader.size, (bytes) => header.set(bytes));
  await change(path, 4096, gptHeader.size, (bytes) => bytes.set(header));
  await patch(path, 4096, gptHeader, { FirstUsableLBA: 6n, LastUsableLBA: 16_000n });
  await seal(path, 4096, 4096);
  await expect(readTable(path)).rejects.toMatchObject({
    code: 'CORRUPT',
    message: expect.stringContaining('both 512 and 4096'),
  });
});

it('names at most a few of thousands of oddities', async () => {
  const path = await partitioned(gptScript);
  await change(path, 2 * sector, 128 * gptEntry.size, (bytes) => {
    for (let at = gptEntry.size; at < bytes.length; at += gptEntry.size) bytes.copyWithin(at, 0, gptEntry.size);
  });
  await seal(path, primary);
  const { partitions, warnings } = await readTable(path);
  expect(partitions.length).toBe(128);
  expect(partitions.every(({ problem }) => problem === 'overlaps')).toBe(true);
  expect(warnings.length).toBe(17);
  expect(warnings.at(-1)).toMatch(/^\d+ more/);
});

/** Random bytes over the tables of good images: what comes out is a table that keeps its word, or CORRUPT. */
async function fuzz(runs: number): Promise<void> {
  const start = 64 * 1024;
  for (const script of [mbrScript, gptScript]) {
    const path = await partitioned(script, 16 * 1024 * 1024);
    const images = new Map<number, Uint8Array>();
    const places = [0, 4096 * sector, 8192 * sector, 16 * 1024 * 1024 - 34 * sector];
    for (const place of places) {
      const length = place === 0 ? start : place > 8192 * sector ? 34 * sector : sector;
      await change(path, place, length, (bytes) => images.set(place, Uint8Array.from(bytes)));
    }
    const edit = fc.record({
      place: fc.constantFrom(...places),
      at: fc.oneof(fc.integer({ min: 440, max: 520 }), fc.integer({ min: 0, max: 2048 })),
      value: fc.oneof(fc.constantFrom(0, 1, 5, 0x0f, 0x80, 0x85, 0xee, 0xff), fc.integer({ min: 0, max: 255 })),
    });
    await using device = memoryDevice(BigInt(16 * 1024 * 1024));
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 12 }), async (edits) => {
        for (const [place, image] of images) {
          const bytes = Uint8Array.from(image);
          for (const { place: to, at, value } of edits) if (to === place && at < bytes.length) bytes[at] = value;
          await device.write(bytes, BigInt(place));
        }
        const table = await readPartitionTable(device).catch((error: unknown) => {
          if (error instanceof DiskError && error.code === 'CORRUPT') return undefined;
          throw error;
        });
        if (table === undefined) return;
        const numbers = table.partitions.map(({ number }) => number);
        expect(new Set(numbers).size).toBe(numbers.length);
        for (const { offset, length, problem } of table.partitions) {
          expect(offset >= 0n && length > 0n && offset + length < 2n ** 63n).toBe(true);
          expect(problem === 'past-end').toBe(offset + length > device.facts.size);
        }
        const sound = table.partitions.filter(({ problem, role }) => problem === undefined && role !== 'extended');
        for (const one of sound) {
          for (const other of sound) {
            const apart = one.offset + one.length <= other.offset || other.offset + other.length <= one.offset;
            expect(one === other || apart).toBe(true);
          }
        }
      }),
      { numRuns: runs },
    );
  }
}

it('lets nothing but CORRUPT out of tables with random damage, and no sound partitions that overlap', () => fuzz(500));

needs({ programs: ['sfdisk'], nightly: true })(
  'lets nothing but CORRUPT out of tables with random damage, for longer',
  () => fuzz(20_000),
  600_000,
);

it('reads a sound GPT whose backup was sealed again', async () => {
  const path = await partitioned(gptScript);
  await seal(path, backup);
  expect((await readTable(path)).warnings).toEqual([]);
});
