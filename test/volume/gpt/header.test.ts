import { expect } from 'vitest';
import { gptEntry, gptHeader } from '../../../src/volume/gpt/on-disk.js';
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
  sealHeader,
} from '../../support/partition-image.js';

const it = needs({ programs: ['sfdisk', 'partx', 'blkid'] });
const { primary, entries } = gptPlaces;
const sector = 512;

const damages: [string, (path: string) => Promise<void>, RegExp][] = [
  ['Signature', (path) => patch(path, primary, gptHeader, { Signature: 'EFI FART' }), /Signature is "EFI FART"/],
  [
    'HeaderSize',
    (path) => patch(path, primary, gptHeader, { HeaderSize: 600 }),
    /HeaderSize is 600, expected 92 to 512/,
  ],
  ['HeaderCRC32', (path) => patch(path, primary, gptHeader, { HeaderCRC32: 7 }), /HeaderCRC32 is 0x7/],
  [
    'MyLBA',
    async (path) => {
      await patch(path, primary, gptHeader, { MyLBA: 3n });
      await seal(path, primary);
    },
    /MyLBA is 3, expected 1/,
  ],
  [
    'LastUsableLBA',
    async (path) => {
      await patch(path, primary, gptHeader, { LastUsableLBA: 5n });
      await seal(path, primary);
    },
    /LastUsableLBA is 5, expected at least 2048/,
  ],
  ['an entry', (path) => patch(path, entries, gptEntry, { EndingLBA: 4000n }), /GPT entries at byte 0x400.*crc32 is/],
  ['all of the header', (path) => change(path, primary, sector, (bytes) => bytes.fill(0)), /Signature is ""/],
];
for (const [what, damage, told] of damages) {
  it(`uses the backup when the primary is damaged, as sfdisk and partx do: ${what}`, async () => {
    const path = await partitioned(script);
    const { partitions } = await readTable(path);
    await damage(path);
    const table = await readTable(path);
    expect(table.partitions).toEqual(partitions);
    expect(table.warnings).toEqual([expect.stringMatching(told)]);
    if (what !== 'MyLBA') expect(asPartx(table)).toEqual(await partx(path));
  });
}

const absurd: [string, Parameters<typeof gptHeader.put>[1], RegExp][] = [
  ['entries of 0 bytes', { SizeOfPartitionEntry: 0 }, /SizeOfPartitionEntry is 0/],
  ['entries of 136 bytes', { SizeOfPartitionEntry: 136 }, /SizeOfPartitionEntry is 136/],
  ['entries of 4 GiB', { SizeOfPartitionEntry: 0xffffffff }, /SizeOfPartitionEntry is 4294967295/],
  ['no entry', { NumberOfPartitionEntries: 0 }, /NumberOfPartitionEntries is 0, expected 1 to 32768/],
  ['four thousand million entries', { NumberOfPartitionEntries: 0xffffffff }, /NumberOfPartitionEntries is 4294967295/],
];
for (const [what, values, told] of absurd) {
  it(`refuses a header that claims ${what}, and uses the backup`, async () => {
    const path = await partitioned(script);
    const { partitions } = await readTable(path);
    await patch(path, primary, gptHeader, values);
    await seal(path, primary);
    const table = await readTable(path);
    expect(table.partitions).toEqual(partitions);
    expect(table.warnings).toEqual([expect.stringMatching(told)]);
  });
}

for (const lba of [131_050n, 2n ** 64n - 1n]) {
  it(`refuses an array of entries at sector ${lba}, outside of the disk, and uses the backup`, async () => {
    const path = await partitioned(script);
    const { partitions } = await readTable(path);
    await patch(path, primary, gptHeader, { PartitionEntryLBA: lba });
    await sealHeader(path, primary);
    const table = await readTable(path);
    expect(table.partitions).toEqual(partitions);
    expect(table.warnings).toEqual([
      expect.stringContaining(`PartitionEntryLBA is ${lba}, expected an array of 16384`),
    ]);
  });
}
