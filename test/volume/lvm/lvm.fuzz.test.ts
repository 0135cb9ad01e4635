import { open } from 'node:fs/promises';
import fc from 'fast-check';
import { expect } from 'vitest';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { DiskError } from '../../../src/error/disk-error.js';
import { findFreeSpace } from '../../../src/guest/free-space.js';
import { openGuest } from '../../../src/guest/guest.js';
import { lvmSector } from '../../../src/volume/lvm/on-disk.js';
import { type LvmRecipe, lvmDisk, lvmNeeds } from '../../support/lvm-image.js';
import { headSize, metadataArea, putText, sealArea, sealLabel, textOf } from '../../support/lvm-patch.js';
import { leftAloneVolumes } from '../../support/lvm-variants.js';
import { needs } from '../../support/needs.js';

/** One physical volume on a whole disk, with as many kinds of volumes as it holds. */
const recipe: LvmRecipe = {
  commands: [
    'pvcreate -y --dataalignment 1M $1',
    'vgcreate -y -s 1M vg $1',
    'lvcreate -n fs -L 4M vg',
    'lvcreate -n gone -L 4M vg',
    'lvcreate -n home -L 4M vg',
    'lvremove -y vg/gone',
    'lvextend -L 6M vg/fs',
    'lvextend -L 9M vg/home',
  ],
  volumes: leftAloneVolumes['a snapshot']?.volumes
    .replaceAll('"pv0", 4', '"pv0", 24')
    .replaceAll('"pv0", 6', '"pv0", 26'),
};

type Mutation = (head: Uint8Array) => void;

const value = fc.oneof(
  fc.constantFrom(
    [0],
    [1],
    [0x7f],
    [0x80],
    [0xff],
    [0xff, 0xff, 0xff, 0xff],
    [0, 0, 0, 0],
    [0, 0, 0, 1],
    [0x7b],
    [0x22],
  ),
  fc.array(fc.nat(255), { minLength: 1, maxLength: 8 }),
);

/** Bytes of the label, of the metadata area's header, or of its text; all checksums right again, or none. */
const bytes: fc.Arbitrary<Mutation> = fc
  .tuple(fc.constantFrom('label', 'area', 'text'), fc.nat(503), value, fc.boolean())
  .map(([where, at, changed, sealed]) => (head) => {
    const area = metadataArea(head);
    if (where === 'text') {
      const text = Buffer.from(textOf(head), 'latin1');
      text.set(Uint8Array.from(changed).subarray(0, text.length - at), at * 2 < text.length - 8 ? at * 2 : at);
      if (sealed) putText(head, text.toString('latin1'));
      else head.set(text, area + lvmSector);
      return;
    }
    head.set(Uint8Array.from(changed), where === 'label' ? lvmSector + at : area + at);
    if (!sealed) return;
    sealArea(head, area);
    sealLabel(head);
  });

const numbers = fc.constantFrom(
  '0',
  '1',
  '2',
  '15',
  '63',
  '64',
  '4294967295',
  '4294967296',
  '9007199254740992',
  '-1',
  '9223372036854775807',
  '99999999999999999999',
  '""',
  '[]',
  '{}',
);

/** One of the numbers of the text, which all have names. */
const number: fc.Arbitrary<Mutation> = fc.tuple(fc.nat(9999), numbers).map(([which, changed]) => (head) => {
  const text = textOf(head);
  const found = [...text.matchAll(/(?<=(?:= |, ))\d+/g)];
  const chosen = found[which % found.length];
  if (chosen === undefined) return;
  putText(head, `${text.slice(0, chosen.index)}${changed}${text.slice(chosen.index + chosen[0].length)}`);
});

/** Lines left out, doubled or moved. */
const lines: fc.Arbitrary<Mutation> = fc
  .tuple(fc.nat(9999), fc.nat(9999), fc.constantFrom('drop', 'double', 'swap', 'word'))
  .map(([one, other, how]) => (head) => {
    const all = textOf(head).split('\n');
    const [i, j] = [one % all.length, other % all.length];
    const [a = '', b = ''] = [all[i], all[j]];
    if (how === 'drop') all.splice(i, 1);
    else if (how === 'double') all.splice(j, 0, a);
    else if (how === 'swap') [all[i], all[j]] = [b, a];
    else all[i] = a.replace(/\w+/, b.trim().split(' ')[0] ?? '');
    putText(head, all.join('\n'));
  });

async function attack(device: BlockDevice, good: Uint8Array, mutations: readonly Mutation[]): Promise<void> {
  const bad = Uint8Array.from(good);
  for (const mutate of mutations) {
    // After an earlier one, there may be nothing left to change.
    try {
      mutate(bad);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  await device.write(bad, 0n);
  try {
    const guest = await openGuest(device);
    const { free } = await findFreeSpace(guest);
    // While the label is as it was, extents begin where it says.
    const label = (head: Uint8Array) => head.subarray(lvmSector, 2 * lvmSector);
    const start = Buffer.compare(label(bad), label(good)) === 0 ? headSize : 4 * lvmSector;
    for (const { offset } of free) expect(offset).toBeGreaterThanOrEqual(BigInt(start));
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
  }
}

async function fuzz(numRuns: number): Promise<void> {
  const { image } = await lvmDisk(recipe);
  const good = new Uint8Array(headSize);
  {
    await using file = await open(image, 'r');
    await file.read(good, 0, good.length, 0);
  }
  // On a device without an end, only the parser itself can bound what it does.
  await using device = memoryDevice(2n ** 60n);
  await device.write(good, 0n);
  const guest = await openGuest(device);
  expect(guest.volumes.map(({ name }) => name)).toEqual(['/dev/sda', '/dev/vg/origin', '/dev/vg/fs', '/dev/vg/home']);
  expect((await findFreeSpace(guest)).free.count).toBeGreaterThan(1);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(bytes, number, lines), { minLength: 1, maxLength: 3 }), (mutations) =>
      attack(device, good, mutations),
    ),
    { numRuns, seed: 1 },
  );
}

needs(lvmNeeds)('500 changed physical volumes end in an answer or a DiskError', () => fuzz(500), 60_000);
needs({ ...lvmNeeds, nightly: true })(
  '20000 changed physical volumes end in an answer or a DiskError',
  () => fuzz(20_000),
  1_800_000,
);
