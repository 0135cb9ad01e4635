import { truncate } from 'node:fs/promises';
import { expect } from 'vitest';
import { DiskError } from '../../../src/error/disk-error.js';
import { gptEntry, gptHeader } from '../../../src/volume/gpt/on-disk.js';
import { masterBootRecord, partitionRecord } from '../../../src/volume/mbr/on-disk.js';
import { loopDevice } from '../../support/loop-device.js';
import { needs } from '../../support/needs.js';
import {
  asPartx,
  change,
  gptPlaces,
  partitioned,
  partx,
  patch,
  readTable,
  gptScript as script,
  seal,
} from '../../support/partition-image.js';
import { attempt, run } from '../../support/run.js';

const it = needs({ programs: ['sfdisk', 'partx', 'blkid'] });
const withSgdisk = needs({ programs: ['sgdisk', 'partx'] });
const withParted = needs({ programs: ['parted', 'partx'] });
const withLoop = needs({ programs: ['sfdisk', 'partx', 'losetup'], root: true, devices: ['/dev/loop-control'] });
const { primary, entries, backup, backupEntries } = gptPlaces;
const sector = 512;
const size = 64 * 1024 * 1024;
const protective = masterBootRecord.fields.PartitionRecord.offset;

async function refusal(path: string): Promise<DiskError> {
  const error: unknown = await readTable(path).catch((reason: unknown) => reason);
  if (!(error instanceof DiskError)) throw new Error(`expected a DiskError, got ${JSON.stringify(error)}`);
  return error;
}

it('lists what partx lists', async () => {
  const path = await partitioned(script);
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table).toMatchObject({ kind: 'gpt', sectorSize: 512, warnings: [] });
  expect(table.partitions.map(({ number, bootable, name }) => [number, bootable, name])).toEqual([
    [1, false, ''],
    [2, true, 'root'],
    [5, false, ''],
  ]);
  expect(table.uuid).toBe(await run('blkid', ['-p', '-o', 'value', '-s', 'PTUUID', path]));
});

withSgdisk('lists what partx lists: a table by sgdisk', async () => {
  const path = await partitioned();
  await run('sgdisk', ['-n', '3:2048:+4M', '-c', '3:data', '-t', '3:8e00', '-n', '1:0:+8M', path]);
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.partitions.map(({ number }) => number)).toEqual([1, 3]);
});

withSgdisk('reads a table of 256 entries', async () => {
  const path = await partitioned(script);
  await run('sgdisk', ['-S', '256', '-n', '200:50000:+1M', path]);
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.partitions.map(({ number }) => number)).toEqual([1, 2, 5, 200]);
});

withParted('lists what partx lists: a table by parted', async () => {
  const path = await partitioned();
  await run('parted', ['--script', path, 'mklabel', 'gpt', 'mkpart', 'esp', '1MiB', '5MiB', 'set', '1', 'esp', 'on']);
  expect(asPartx(await readTable(path))).toEqual(await partx(path));
});

withLoop('finds sectors of 4096 bytes by where the header stands, damaged primary or not', async () => {
  const path = await partitioned();
  const { path: loop, detach } = await loopDevice(path, '--sector-size', '4096');
  // sfdisk fails at the very end where the kernel itself cannot read partition tables: partx has the last word.
  await attempt('sfdisk', ['--quiet', loop], {
    stdin: 'pipe',
    input: 'label: gpt\nsize=1024,type=linux,name=a\nsize=2048,name=b\n',
  });
  const expected = await partx(loop, 4096);
  await detach();
  expect(expected.length).toBe(2);
  const table = await readTable(path);
  expect(table).toMatchObject({ kind: 'gpt', sectorSize: 4096, warnings: [] });
  expect(asPartx(table)).toEqual(expected);
  await patch(path, 4096, gptHeader, { HeaderCRC32: 1 });
  const recovered = await readTable(path);
  expect(recovered.sectorSize).toBe(4096);
  expect(asPartx(recovered)).toEqual(expected);
});

it('refuses a table of which both copies are damaged, and says what is wrong with each', async () => {
  const path = await partitioned(script);
  await patch(path, primary, gptHeader, { HeaderCRC32: 7 });
  await patch(path, backupEntries, gptEntry, { StartingLBA: 9n });
  const error = await refusal(path);
  expect(error.code).toBe('CORRUPT');
  expect(error.message).toMatch(/HeaderCRC32 is 0x7, expected 0x.*; GPT entries at byte 0x3ffbe00 .*crc32 is.*gdisk/);
  expect(error.facts).toMatchObject({ structure: 'GPT header', offset: 512n, device: path, field: 'HeaderCRC32' });
  expect(await partx(path)).toEqual([]);
});

it('refuses a table of which both copies are gone', async () => {
  const path = await partitioned(script);
  await change(path, primary, sector, (bytes) => bytes.fill(0));
  await change(path, backup, sector, (bytes) => bytes.fill(0));
  expect(await refusal(path)).toMatchObject({
    code: 'CORRUPT',
    message: expect.stringContaining('no copy of the GPT'),
  });
});

it('says so when the backup is damaged', async () => {
  const path = await partitioned(script);
  await patch(path, backup, gptHeader, { HeaderCRC32: 7 });
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.warnings).toEqual([expect.stringMatching(/backup GPT is damaged.*HeaderCRC32 is 0x7/)]);
});

it('prefers the primary when the copies differ, and says so', async () => {
  const path = await partitioned(script);
  const { partitions } = await readTable(path);
  await patch(path, backupEntries, gptEntry, { StartingLBA: 2049n });
  await seal(path, backup);
  const table = await readTable(path);
  expect(table.partitions).toEqual(partitions);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.warnings).toEqual([expect.stringContaining('differs from the primary')]);
});

it('refuses a backup of another disk where the primary header is sound and its entries are not', async () => {
  const path = await partitioned(script);
  await patch(path, entries, gptEntry, { EndingLBA: 4000n });
  await patch(path, backup, gptHeader, { DiskGUID: new Uint8Array(16).fill(1) });
  await seal(path, backup);
  expect((await refusal(path)).message).toMatch(
    /DiskGUID is 01010101-0101-.*expected 0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9/,
  );
});

it('reads the table of a disk that has grown, and finds its backup when the primary is damaged', async () => {
  const path = await partitioned(script);
  await truncate(path, 2 * size);
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.warnings).toEqual([expect.stringContaining('not at the end of the disk')]);
  await patch(path, primary, gptHeader, { HeaderCRC32: 7 });
  const recovered = await readTable(path);
  expect(recovered.partitions).toEqual(table.partitions);
  expect(recovered.warnings).toEqual([expect.stringContaining('its backup at byte 0x3fffe00')]);
});

it('reads the table of a disk that was cut short, and marks what passes its end', async () => {
  const path = await partitioned(script);
  await truncate(path, 41_000 * sector);
  const { partitions, warnings } = await readTable(path);
  expect(partitions.map(({ problem }) => problem)).toEqual([undefined, undefined, 'past-end']);
  expect(warnings).toEqual([
    expect.stringContaining('backup GPT is damaged or missing'),
    expect.stringContaining('is of a disk of at least'),
    expect.stringContaining(`partition 5 passes the end of the disk by ${(40_960 + 2048 - 41_000) * sector} bytes`),
  ]);
});

it('marks both of two partitions that overlap', async () => {
  const path = await partitioned(script);
  await patch(path, entries, gptEntry, { EndingLBA: 4096n });
  await seal(path, primary);
  const { partitions, warnings } = await readTable(path);
  expect(partitions.map(({ problem }) => problem)).toEqual(['overlaps', 'overlaps', undefined]);
  expect(warnings).toContain('partitions 1 and 2 overlap');
});

for (const [where, values] of [
  ['the primary entries', { StartingLBA: 20n, EndingLBA: 2050n }],
  ['the backup header', { StartingLBA: 131_071n, EndingLBA: 131_071n }],
] as const) {
  it(`marks a partition that covers ${where}`, async () => {
    const path = await partitioned(script);
    await patch(path, entries, gptEntry, values);
    await seal(path, primary);
    const { partitions, warnings } = await readTable(path);
    expect(partitions[0]?.problem).toBe('overlaps');
    expect(warnings).toContain('partition 1 covers a part of the partition table');
  });
}

it('goes by the GPT behind a hybrid MBR, wherever its protective entry stands, as partx does', async () => {
  const path = await partitioned(script);
  const ours = { BootIndicator: 0, OSType: 0x83, StartingLBA: 4096, SizeInLBA: 8192 };
  await patch(path, protective, partitionRecord, ours);
  await patch(path, protective + 32, partitionRecord, { OSType: 0xee, StartingLBA: 1, SizeInLBA: 2047 });
  const table = await readTable(path);
  expect(table.kind).toBe('gpt');
  expect(asPartx(table)).toEqual(await partx(path));
});

it('does not mind the size of the protective entry, as partx does not', async () => {
  const path = await partitioned(script);
  await patch(path, protective, partitionRecord, { SizeInLBA: 0 });
  expect(asPartx(await readTable(path))).toEqual(await partx(path));
});

it('says that Linux ignores a GPT whose protective entry does not start at sector 1', async () => {
  const path = await partitioned(script);
  await patch(path, protective, partitionRecord, { StartingLBA: 2 });
  const table = await readTable(path);
  expect(asPartx(table)).toEqual(await partx(path));
  expect(table.warnings).toEqual([expect.stringContaining('starts at sector 2, not 1')]);
});
