import { readFile } from 'node:fs/promises';
import { crc32 } from '@node-rs/crc32';
import fc from 'fast-check';
import { expect } from 'vitest';
import { viewOf } from '../../src/binary/layout.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import { DiskError } from '../../src/error/disk-error.js';
import { gptEntry, gptHeader } from '../../src/volume/gpt/on-disk.js';
import { biosParameterBlock, masterBootRecord, partitionRecord } from '../../src/volume/mbr/on-disk.js';
import { readPartitionTable } from '../../src/volume/partition-table.js';
import { fieldChange, type Structure } from '../support/field-changes.js';
import { needs } from '../support/needs.js';
import { partitioned } from '../support/partition-image.js';

const sector = 512;
const size = 512 << 10;
const backup = size - sector;
const record = (at: number, i: number): Structure => ({
  layout: partitionRecord,
  base: at * sector + masterBootRecord.fields.PartitionRecord.offset + i * partitionRecord.size,
});

interface Kind {
  readonly script: string;
  readonly structures: readonly Structure[];
  readonly seal?: (image: Uint8Array) => void;
}

/** The checksums of both copies, where what they cover lies in the image. */
function sealGpt(image: Uint8Array): void {
  for (const header of [sector, backup]) {
    const bytes = image.subarray(header, header + gptHeader.size);
    const raw = gptHeader.at(viewOf(bytes));
    const entries = Number(BigInt.asUintN(32, raw.PartitionEntryLBA)) * sector;
    const length = raw.NumberOfPartitionEntries * raw.SizeOfPartitionEntry;
    if (entries + length <= image.length) {
      gptHeader.put(viewOf(bytes), { PartitionEntryArrayCRC32: crc32(image.subarray(entries, entries + length)) });
    }
    gptHeader.put(viewOf(bytes), { HeaderCRC32: 0 });
    const covered = Math.min(raw.HeaderSize, sector);
    gptHeader.put(viewOf(bytes), { HeaderCRC32: crc32(image.subarray(header, header + covered)) });
  }
}

const mbr: Kind = {
  script: 'label: dos\nlabel-id: 0x1234abcd\n64,64,83\n128,512,5\n192,64,83\n320,64,82\n',
  structures: [
    { layout: masterBootRecord, base: 0 },
    { layout: biosParameterBlock, base: 0 },
    ...[0, 1, 2, 3].map((i) => record(0, i)),
    // The two extended boot records.
    ...[128, 256].flatMap((lba) => [record(lba, 0), record(lba, 1)]),
  ],
};
const gptStructures: readonly Structure[] = [
  record(0, 0),
  ...[sector, backup].map((base) => ({ layout: gptHeader, base })),
  ...[2, 2 + 128 / 4, size / sector - 33].flatMap((lba) => [
    { layout: gptEntry, base: lba * sector },
    { layout: gptEntry, base: lba * sector + gptEntry.size },
  ]),
];
const script = 'label: gpt\nfirst-lba: 34\n64,64,L\n256,128,L\n';
const kinds: Readonly<Record<string, Kind>> = {
  'an MBR with logical partitions': mbr,
  'a GPT': { script, structures: gptStructures },
  'a GPT whose checksums are made right again': { script, structures: gptStructures, seal: sealGpt },
};

async function fuzz({ script, structures, seal }: Kind, runs: number): Promise<void> {
  const good = Uint8Array.from(await readFile(await partitioned(script, size)));
  await using device = memoryDevice(BigInt(size));
  let answers = 0;
  const changes = fc.array(fieldChange(structures), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(changes, async (applied) => {
      const image = Uint8Array.from(good);
      for (const { apply } of applied) apply(image);
      seal?.(image);
      await device.write(image, 0n);
      const table = await readPartitionTable(device).catch((error: unknown) => {
        if (error instanceof DiskError && error.code === 'CORRUPT') return undefined;
        throw error;
      });
      if (table === undefined) return;
      answers++;
      const sound = table.partitions.filter(({ problem, role }) => problem === undefined && role !== 'extended');
      const ordered = sound.toSorted((a, b) => Number(a.offset - b.offset));
      for (const [i, { offset, length }] of ordered.entries()) {
        expect(offset >= 0n && length > 0n && offset + length <= device.facts.size).toBe(true);
        expect(offset + length <= (ordered[i + 1]?.offset ?? device.facts.size)).toBe(true);
      }
    }),
    { numRuns: runs, seed: 1 },
  );
  // Else every change would have been refused at the door.
  expect(answers).toBeGreaterThan(runs / 10);
}

const programs = ['sfdisk'] as const;
for (const [name, kind] of Object.entries(kinds)) {
  needs({ programs })(`500 changes of fields of ${name} end in a table or in CORRUPT`, () => fuzz(kind, 500));
  needs({ programs, nightly: true })(
    `20000 changes of fields of ${name} end in a table or in CORRUPT`,
    () => fuzz(kind, 20_000),
    1_800_000,
  );
}
