import { truncate } from 'node:fs/promises';
import { expect } from 'vitest';
import { viewOf } from '../../../src/binary/layout.js';
import { masterBootRecord, partitionRecord } from '../../../src/volume/mbr/on-disk.js';
import { needs } from '../../support/needs.js';
import { asPartx, change, partitioned, partx, patch, readTable } from '../../support/partition-image.js';
import { run } from '../../support/run.js';

const it = needs({ programs: ['sfdisk', 'partx', 'blkid'] });
const withParted = needs({ programs: ['parted', 'partx'] });

const sector = 512;
const records = masterBootRecord.fields.PartitionRecord.offset;

/** Byte of a record: `slot` from 1, in the boot record at `sectors`. */
const record = (slot: number, sectors = 0) => sectors * sector + records + (slot - 1) * partitionRecord.size;

const primaries = 'label: dos\nlabel-id: 0x1234abcd\n2048,2048,83,*\n4096,4096,82\n16384,8192,7\n';
const logicals =
  'label: dos\nlabel-id: 0x0000beef\n2048,2048,83\n4096,100000,5\n6144,2048,83\n10240,2048,82\n20480,4096,8e\n';

it('lists what partx lists: primaries', async () => {
  const path = await partitioned(primaries);
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table).toMatchObject({ kind: 'mbr', sectorSize: 512, uuid: '1234abcd', warnings: [] });
  expect(table.partitions.map(({ bootable, role }) => [bootable, role])).toEqual([
    [true, 'primary'],
    [false, 'primary'],
    [false, 'primary'],
  ]);
});

it('spells the disk signature as blkid does', async () => {
  const path = await partitioned(logicals);
  expect(await run('blkid', ['-p', '-o', 'value', '-s', 'PTUUID', path])).toBe((await readTable(path)).uuid);
});

for (const type of ['5', 'f', '85']) {
  it(`lists what partx lists: logical drives in an extended partition of type 0x${type}`, async () => {
    const path = await partitioned(logicals.replace('100000,5', `100000,${type}`));
    const table = await readTable(path);
    expect(asPartx(table)).toEqual(await partx(path));
    expect(table.partitions.map(({ number, role }) => [number, role])).toEqual([
      [1, 'primary'],
      [2, 'extended'],
      [5, 'logical'],
      [6, 'logical'],
      [7, 'logical'],
    ]);
    expect(table.warnings).toEqual([]);
  });
}

withParted('lists what partx lists: a table by parted', async () => {
  const path = await partitioned();
  const parts = 'mklabel msdos mkpart primary ext4 1MiB 4MiB mkpart extended 8MiB 60MiB mkpart logical 9MiB 20MiB';
  await run('parted', ['--script', path, ...parts.split(' '), 'mkpart', 'logical', '30MiB', '40MiB']);
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.partitions.map(({ number }) => number)).toEqual([1, 2, 5, 6]);
});

it('marks a partition that passes the end of a disk that was cut short', async () => {
  const path = await partitioned(primaries);
  await truncate(path, 20_000 * sector);
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.partitions.map(({ problem }) => problem)).toEqual([undefined, undefined, 'past-end']);
  expect(table.warnings).toEqual([expect.stringContaining(`by ${(16384 + 8192 - 20_000) * sector} bytes`)]);
});

it('marks both of two primaries that overlap', async () => {
  const path = await partitioned(primaries);
  await patch(path, record(1), partitionRecord, { SizeInLBA: 2049 });
  const table = await readTable(path);
  expect(table.partitions.map(({ problem }) => problem)).toEqual(['overlaps', 'overlaps', undefined]);
  expect(table.warnings).toEqual(['partitions 1 and 2 overlap']);
});

it('marks two logical drives that overlap, and not the extended partition around them', async () => {
  const path = await partitioned(logicals);
  await patch(path, record(1, 8192), partitionRecord, { StartingLBA: 20480 - 8192 });
  const { partitions, warnings } = await readTable(path);
  expect(partitions.map(({ problem }) => problem)).toEqual([undefined, undefined, undefined, 'overlaps', 'overlaps']);
  expect(warnings).toEqual(['partitions 6 and 7 overlap']);
});

it('marks a logical drive and the primary that it reaches into', async () => {
  const path = await partitioned(logicals);
  await patch(path, record(3), partitionRecord, { OSType: 0x83, StartingLBA: 110_000, SizeInLBA: 8192 });
  await patch(path, record(1, 18432), partitionRecord, { SizeInLBA: 95_000 });
  const { partitions } = await readTable(path);
  expect(partitions.filter(({ problem }) => problem === 'overlaps').map(({ number }) => number)).toEqual([3, 7]);
});

it('marks a primary that covers an EBR', async () => {
  const path = await partitioned(logicals);
  await patch(path, record(3), partitionRecord, { OSType: 0x83, StartingLBA: 18432, SizeInLBA: 1 });
  const { partitions, warnings } = await readTable(path);
  expect(partitions.filter(({ problem }) => problem === 'overlaps').map(({ number }) => number)).toEqual([2, 3]);
  expect(warnings).toContain('partition 3 covers a part of the partition table');
});

it('marks a partition that covers the MBR, as that of a hybrid ISO image', async () => {
  const path = await partitioned(primaries);
  await patch(path, record(1), partitionRecord, { OSType: 0, StartingLBA: 0 });
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.partitions[0]).toMatchObject({ type: '0x0', offset: 0n, problem: 'overlaps' });
});

it('gives no PARTUUID without a disk signature, as blkid', async () => {
  const path = await partitioned(primaries);
  await patch(path, 0, masterBootRecord, { UniqueMBRDiskSignature: 0 });
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.uuid).toBe('');
});

it('declares records as sfdisk writes them', async () => {
  const path = await partitioned(primaries);
  await change(path, 0, sector, (bytes) => {
    expect(partitionRecord.values(viewOf(bytes), record(1))).toMatchObject({
      BootIndicator: 0x80,
      OSType: 0x83,
      StartingLBA: 2048,
      SizeInLBA: 2048,
    });
  });
});
