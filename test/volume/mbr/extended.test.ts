import { expect } from 'vitest';
import { masterBootRecord, partitionRecord } from '../../../src/volume/mbr/on-disk.js';
import { needs } from '../../support/needs.js';
import { asPartx, change, partitioned, partx, patch, readTable } from '../../support/partition-image.js';

const it = needs({ programs: ['sfdisk', 'partx', 'blkid'] });

const sector = 512;
const records = masterBootRecord.fields.PartitionRecord.offset;

/** Byte of a record: `slot` from 1, in the boot record at `sectors`. */
const record = (slot: number, sectors = 0) => sectors * sector + records + (slot - 1) * partitionRecord.size;

const logicals =
  'label: dos\nlabel-id: 0x0000beef\n2048,2048,83\n4096,100000,5\n6144,2048,83\n10240,2048,82\n20480,4096,8e\n';

it('numbers logical drives in the order of the chain, wherever they lie', async () => {
  const path = await partitioned(logicals);
  const table = await readTable(path);
  const [, , first, second, third] = table.partitions;
  if (first === undefined || second === undefined || third === undefined) throw new Error('five partitions');
  // The first record leads to the third drive's, that one back to the second's. sfdisk put each 2048 sectors ahead.
  const [ebr1, ebr2, ebr3] = [4096, 8192, 18432];
  const extended = { OSType: 5, SizeInLBA: 8192 };
  await patch(path, record(2, ebr1), partitionRecord, { ...extended, StartingLBA: ebr3 - ebr1 });
  await patch(path, record(2, ebr3), partitionRecord, { ...extended, StartingLBA: ebr2 - ebr1 });
  await patch(path, record(2, ebr2), partitionRecord, { OSType: 0, SizeInLBA: 0, StartingLBA: 0 });
  const reversed = await readTable(path);
  expect(reversed.partitions.map(({ number, offset }) => [number, offset])).toEqual([
    [1, table.partitions[0]?.offset],
    [2, table.partitions[1]?.offset],
    [5, first.offset],
    [6, third.offset],
    [7, second.offset],
  ]);
  expect(asPartx(reversed)).toEqual(await partx(path));
  expect(reversed.warnings).toEqual([]);
});

it('believes the first two entries of an EBR, and the last two only inside their link, as partx does', async () => {
  const path = await partitioned(logicals);
  const inside = { OSType: 0x83, StartingLBA: 4096 - 1024, SizeInLBA: 512 };
  await patch(path, record(3, 4096), partitionRecord, inside);
  await patch(path, record(4, 8192), partitionRecord, { ...inside, SizeInLBA: 1_000_000 });
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.partitions.map(({ length }) => length / 512n)).toContain(512n);
});

it('follows a link in any of the four entries, as partx does', async () => {
  const path = await partitioned(logicals);
  await patch(path, record(2, 4096), partitionRecord, { OSType: 0, SizeInLBA: 0 });
  await patch(path, record(4, 4096), partitionRecord, { OSType: 5, SizeInLBA: 4096, StartingLBA: 4096 });
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.partitions.length).toBe(5);
});

it('ends a chain that loops, with a warning', async () => {
  const path = await partitioned(logicals);
  await patch(path, record(2, 18432), partitionRecord, { OSType: 5, SizeInLBA: 4096, StartingLBA: 0 });
  const table = await readTable(path);
  // The third record had no link: with one back to the first, the drives are the same three.
  expect(table.partitions.map(({ number }) => number)).toEqual([1, 2, 5, 6, 7]);
  expect(table.warnings).toEqual([expect.stringContaining('loops back to byte 0x200000')]);
});

it('ends a chain that leads past the end of the disk, with a warning', async () => {
  const path = await partitioned(logicals);
  await patch(path, record(2, 8192), partitionRecord, { StartingLBA: 0xf0000000 });
  const table = await readTable(path);
  expect(table.partitions.map(({ number }) => number)).toEqual([1, 2, 5, 6]);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.warnings).toEqual([expect.stringContaining('past the end of the disk')]);
});

it('ends a chain that leads to no boot record, with a warning', async () => {
  const path = await partitioned(logicals);
  await patch(path, 18432 * sector, masterBootRecord, { Signature: 0 });
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.warnings).toEqual([expect.stringContaining('there is no boot record')]);
});

it('takes an extended partition in which nothing was made yet as empty, without a warning', async () => {
  const path = await partitioned('label: dos\n2048,2048,83\n4096,100000,5\n');
  await change(path, 4096 * sector, sector, (bytes) => bytes.fill(0));
  const table = await readTable(path);
  expect(table.partitions.map(({ number }) => number)).toEqual([1, 2]);
  expect(table.warnings).toEqual([]);
});
