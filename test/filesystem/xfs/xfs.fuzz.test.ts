import fc from 'fast-check';
import { expect } from 'vitest';
import { viewOf } from '../../../src/binary/layout.js';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { StatsLayer } from '../../../src/device/layer/stats.js';
import { crcWithout } from '../../../src/filesystem/xfs/checksum.js';
import {
  attributeBlockV5,
  directoryHeader,
  inodeCoreV3,
  longHeaderV5,
} from '../../../src/filesystem/xfs/file-on-disk.js';
import { readFreeSpace } from '../../../src/filesystem/xfs/free-space.js';
import { shortHeaderV5, xfsAgf, xfsAgfl, xfsAgi, xfsSuperblock } from '../../../src/filesystem/xfs/on-disk.js';
import { readSuperblock } from '../../../src/filesystem/xfs/superblock.js';
import { XfsVolume } from '../../../src/filesystem/xfs/volume.js';
import { openXfs } from '../../../src/filesystem/xfs/xfs.js';
import { answer, readFile } from '../../support/attack.js';
import { inMemory } from '../../support/ext-memory.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { protoXfsImage, xfsImage } from '../../support/xfs-image.js';

/** Bytes that belong together, and where in them their checksum is; none where they have none. */
interface Structure {
  readonly base: number;
  readonly size: number;
  readonly crc?: number | undefined;
}

/** Everything in an image that a reader goes by, with its checksum where it is of version 5. */
async function structuresOf(path: string): Promise<Structure[]> {
  await using device = await openRaw(path);
  const superblock = await readSuperblock(device);
  const { sectorSize, blockSize, inodeSize, version, groupCount, groupSize, log } = superblock;
  const crcOf = (offset: number) => (version >= 5 ? offset : undefined);
  const found: Structure[] = [];
  const add = (base: number, size: number, crc: number) => found.push({ base, size, crc: crcOf(crc) });
  for (let group = 0; group < groupCount; group++) {
    const start = group * groupSize * blockSize;
    const crcs = [xfsSuperblock.fields.sb_crc, xfsAgf.fields.agf_crc, xfsAgi.fields.agi_crc, xfsAgfl.fields.agfl_crc];
    for (const [sector, { offset }] of crcs.entries()) add(start + sector * sectorSize, sectorSize, offset);
  }
  const filesystem = await openXfs(device);
  for await (const { kind, offset, length } of filesystem.metadata()) {
    if (kind !== 'tree') continue;
    for (let at = 0; at < length; at += blockSize)
      add(Number(offset) + at, blockSize, shortHeaderV5.fields.bb_crc.offset);
  }
  const { groupBits, inodeBits } = superblock;
  for await (const { file } of filesystem.walk()) {
    const group = Number(file.id >> BigInt(groupBits + inodeBits));
    const inGroup = Number(file.id & ((1n << BigInt(groupBits + inodeBits)) - 1n));
    add(group * groupSize * blockSize + inGroup * inodeSize, inodeSize, inodeCoreV3.fields.di_crc.offset);
    for await (const { role, offset, inline } of file.fileMap()) {
      if (inline || (role === 'content' && file.type !== 'directory')) continue;
      const block = new Uint8Array(blockSize);
      await device.read(block, offset);
      const magic = viewOf(block).getUint32(0);
      const tree = magic === 0x424d_4133;
      const directory = magic >>> 16 === 0x5844;
      const crc = tree
        ? longHeaderV5.fields.bb_crc
        : directory
          ? directoryHeader.fields.crc
          : attributeBlockV5.fields.crc;
      add(Number(offset), blockSize, crc.offset);
    }
  }
  const { start } = log;
  const block = Number(start >> BigInt(groupBits)) * groupSize + Number(start & ((1n << BigInt(groupBits)) - 1n));
  found.push({ base: block * blockSize, size: 1024 });
  return found;
}

const bytes = fc.oneof(
  fc.constantFrom([0], [1], [0x7f], [0x80], [0xff], [0, 0], [0xff, 0xff], [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0]),
  fc.array(fc.nat(255), { minLength: 1, maxLength: 8 }),
);
/** Most of a block is records; its header counts for more. */
const place = fc.oneof(fc.nat(63), fc.nat(255), fc.nat(65_535));
const changes = fc.array(
  fc.record({ structure: fc.nat(), place, bytes, sealed: fc.constantFrom(true, true, true, false) }),
  {
    minLength: 1,
    maxLength: 3,
  },
);

/** Requests that reading a whole image of this kind takes at most, whatever is changed in it: see that none leads on and on. */
const mostRequests = 5000;

async function fuzz(make: () => Promise<string>, runs: number): Promise<void> {
  const path = await make();
  const structures = await structuresOf(path);
  await using small = await openRaw(path);
  await using device = await inMemory(path, small.facts.size);
  let answers = 0;
  await fc.assert(
    fc.asyncProperty(changes, async (list) => {
      const saved: { at: bigint; good: Uint8Array }[] = [];
      for (const { structure, place: at, bytes: junk, sealed } of list) {
        const { base, size, crc } = structures[structure % structures.length] ?? { base: 0, size: 512 };
        const good = new Uint8Array(size);
        await device.read(good, BigInt(base));
        saved.push({ at: BigInt(base), good });
        const bad = Uint8Array.from(good);
        bad.set(junk.slice(0, size - (at % size)), at % size);
        if (sealed && crc !== undefined) viewOf(bad).setUint32(crc, crcWithout(bad, crc), true);
        await device.write(bad, BigInt(base));
      }
      try {
        answers += await attack(device);
      } finally {
        for (const { at, good } of saved.reverse()) await device.write(good, at);
      }
    }),
    { numRuns: runs, seed: 1 },
  );
  // Else every change would have been refused at the door.
  expect(answers).toBeGreaterThan(runs / 10);
}

/** @returns how many questions about free space were answered */
async function attack(device: BlockDevice): Promise<number> {
  const counted = new StatsLayer(device);
  let answers = 0;
  await answer(async () => {
    for await (const { file } of (await openXfs(counted)).walk()) await readFile(file);
  });
  await answer(async () => {
    for await (const { length } of (await openXfs(counted)).metadata()) expect(length).toBeGreaterThan(0n);
  });
  await answer(async () => {
    // Whatever the log says.
    const volume = new XfsVolume(counted, await readSuperblock(counted));
    for (const { offset, length } of await readFreeSpace(volume, {})) {
      expect(offset).toBeGreaterThanOrEqual(2048n);
      expect(offset + length).toBeLessThanOrEqual(device.facts.size);
    }
    answers++;
  });
  expect(counted.stats.get('read')?.requests ?? 0).toBeLessThan(mostRequests);
  return answers;
}

const images: Record<string, { make: () => Promise<string>; root?: boolean }> = {
  'of version 4': { make: async () => (await protoXfsImage({ mkfs: '-m crc=0', size: '24M' }, 30)).path },
  'of version 5': {
    make: () => xfsImage({ mkfs: '-b size=1024 -m rmapbt=1', size: '64M', also: 'little' }),
    root: true,
  },
};

for (const [name, { make, root = false }] of Object.entries(images)) {
  const programs = root ? (['mkfs.xfs', 'mount'] as const) : (['mkfs.xfs'] as const);
  needs({ programs, root })(
    `500 changes of XFS ${name} end in an answer or a DiskError`,
    () => fuzz(make, 500),
    120_000,
  );
  needs({ programs, root, nightly: true })(
    `20000 changes of XFS ${name} end in an answer or a DiskError`,
    () => fuzz(make, 20_000),
    1_800_000,
  );
}
