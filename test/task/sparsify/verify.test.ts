import { closeSync, openSync, writeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { RangeSet } from '../../../src/binary/range-set.js';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { findFreeSpace } from '../../../src/guest/free-space.js';
import { openGuest } from '../../../src/guest/guest.js';
import { openImage } from '../../../src/image/open-image.js';
import { sparsify } from '../../../src/task/sparsify/sparsify.js';
import { sparsifyCopy } from '../../../src/task/sparsify/sparsify-copy.js';
import { differenceInUse, digestUsed } from '../../../src/task/sparsify/used-digest.js';
import { digestOutside, fillWithGarbage, guestDiskPrograms, makeGuestDisk } from '../../support/guest-disk.js';
import { needs } from '../../support/needs.js';
import { run } from '../../support/run.js';
import { served } from '../../support/served.js';

const it = needs({ programs: guestDiskPrograms });
const MiB = 1 << 20;

async function deviceOf(...pieces: readonly (readonly [offset: number, text: string])[]): Promise<BlockDevice> {
  const device = memoryDevice(4n << 20n);
  for (const [offset, text] of pieces) await device.write(Buffer.from(text), BigInt(offset));
  return device;
}

async function sumOf(device: BlockDevice, given = RangeSet.empty): Promise<string> {
  return (await digestUsed(device, given, {})).sum().toString('hex');
}

test('holes and zeros have the same digest, and what is given back has none', async () => {
  const given = RangeSet.of([
    { offset: 4096n, length: 8192n },
    { offset: 2n << 20n, length: 1n << 20n },
  ]);
  await using one = await deviceOf([0, 'kept'], [5000, 'deleted'], [2 * MiB + 17, 'deleted'], [3 * MiB + 7, 'kept']);
  await using two = await deviceOf([0, 'kept'], [6000, 'other'], [3 * MiB + 7, 'kept'], [MiB, '\0\0\0\0\0\0\0\0']);
  expect(await sumOf(one, given)).toBe(await sumOf(two, given));
  expect(await sumOf(one)).not.toBe(await sumOf(two));
});

test('the first difference has its place: a byte changed, one that was zeros, one that has become zeros', async () => {
  const given = RangeSet.of([{ offset: BigInt(MiB), length: 4096n }]);
  await using before = await deviceOf([10, 'a'], [2 * MiB, 'b']);
  const digest = await digestUsed(before, given, {});
  const place = async (...pieces: readonly (readonly [number, string])[]) => {
    await using after = await deviceOf(...pieces);
    return differenceInUse(after, given, digest, await digestUsed(after, given, {}));
  };
  expect(await place([10, 'a'], [2 * MiB, 'b'])).toBeUndefined();
  expect(await place([10, 'x'], [2 * MiB, 'b'])).toContain('from byte 0x0 to 0x100000');
  expect(await place([10, 'a'], [MiB + 5000, 'x'], [2 * MiB, 'b'])).toContain('from byte 0x101000 to 0x200000');
  expect(await place([10, 'a'])).toContain('from byte 0x200000 to 0x300000');
  expect(await place([10, 'a'], [2 * MiB, 'b'], [4 * MiB - 1, 'x'])).toContain('from byte 0x300000 to 0x400000');
});

test('a disk of nothing but holes costs nothing, however large it is', async () => {
  await using device = memoryDevice(2n ** 60n);
  await device.write(Buffer.from('a'), 2n ** 59n);
  expect((await digestUsed(device, RangeSet.empty, {})).count).toBe(1);
});

it('the digest of what is in use is the same in place, in a copy, and the next time', async () => {
  const { image } = await makeGuestDisk({ size: 48 * MiB });
  const copy = join(dirname(image), 'copy.qcow2');
  const copied = await sparsifyCopy(image, copy, { verify: true, convert: 'qcow2' }, {});
  const inPlace = await sparsify(image, { verify: true }, {});
  const again = await sparsify(image, { verify: true }, {});
  expect(inPlace.digest).toMatch(/^[0-9a-f]{64}$/);
  expect(again.digest).toBe(inPlace.digest);
  expect(copied.digest).toBe(inPlace.digest);
  expect((await sparsify(image, {}, {})).digest).toBeUndefined();
});

it('a byte in use that changes meanwhile fails the run, and its place is told', async () => {
  const { image, rootOffset } = await makeGuestDisk({ size: 48 * MiB });
  let done = false;
  const onProgress = ({ phase }: { phase: string }) => {
    if (done || !phase.startsWith('giving back')) return;
    done = true;
    const fd = openSync(image, 'r+');
    writeSync(fd, 'x', rootOffset + 1030);
    closeSync(fd);
  };
  await expect(sparsify(image, { verify: true }, { onProgress })).rejects.toMatchObject({
    code: 'IO',
    facts: { reason: 'verify' },
    message: expect.stringMatching(/bytes in use from byte 0x100000 to 0x[0-9a-f]+, has changed/),
  });
});

it('a copy on a longer device is verified for its own length; of what is free, that keeps what it had', async () => {
  const { image } = await makeGuestDisk({ size: 48 * MiB });
  const target = join(dirname(image), 'target.img');
  await fillWithGarbage(target, 64 * MiB);
  const used = (await freeOf(image)).roundInwards(4096n).complement(0n, 48n << 20n);
  const before = await digestOutside(target, used);
  const { uri, stop } = await served(['--file', target]);
  const { digest } = await sparsifyCopy(image, uri, { verify: true }, {});
  await stop();
  expect(await digestOutside(target, used)).toBe(before);
  expect(digest).toBe((await sparsify(image, { verify: true }, {})).digest);
});

async function freeOf(image: string): Promise<RangeSet> {
  await using disk = await openImage(image, { access: 'read' });
  return (await findFreeSpace(await openGuest(disk))).free;
}

it('what cannot be read again is not verified, and nothing is written', async () => {
  const { image } = await makeGuestDisk({ size: 48 * MiB });
  const pipe = join(dirname(image), 'pipe');
  await run('mkfifo', [pipe]);
  for (const output of ['-', pipe]) {
    await expect(sparsifyCopy(image, output, { verify: true }, {})).rejects.toMatchObject({ code: 'USAGE' });
  }
  expect((await stat(pipe)).isFIFO()).toBe(true);
});
