import { copyFile, open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type SparsifyOptions, sparsify } from '../../../src/task/sparsify/sparsify.js';
import { guestDiskPrograms, makeGuestDisk } from '../../support/guest-disk.js';
import { needs } from '../../support/needs.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: guestDiskPrograms });
const sector = 512;

/** Sectors of the swap partition of {@link dosDisk}: neither end lies at a multiple of 4 KiB. */
const swapStart = 4097;
const swapLength = 8191;

/** A disk full of garbage with an MBR: swap on /dev/sda1, and a logical drive in the extended /dev/sda2. */
async function dosDisk(): Promise<string> {
  const folder = await temporaryFolder();
  const image = join(folder, 'disk.img');
  const swap = join(folder, 'swap');
  await run('dd', ['if=/dev/urandom', `of=${image}`, 'bs=1M', 'count=16', 'status=none']);
  const table = `label: dos\nstart=${swapStart}, size=${swapLength}, type=82\nstart=16384, type=5\nstart=18432, type=83\n`;
  await run('sfdisk', ['--quiet', '--wipe', 'always', image], { stdin: 'pipe', input: table });
  await run('dd', ['if=/dev/urandom', `of=${swap}`, `bs=${sector}`, `count=${swapLength}`, 'status=none']);
  await run('mkswap', ['-q', swap]);
  await dd(swap, image, swapLength, swapStart);
  return image;
}

async function dd(from: string, to: string, count: number, seek: number): Promise<void> {
  const place = [`bs=${sector}`, `count=${count}`, `seek=${seek}`];
  await run('dd', [`if=${from}`, `of=${to}`, ...place, 'conv=notrunc', 'status=none']);
}

/** The error that a wipe ends in, once it is known that not a byte has changed. */
async function refusal(image: string, options: SparsifyOptions): Promise<unknown> {
  const copy = `${image}.before`;
  await copyFile(image, copy);
  const error: unknown = await sparsify(image, options, {}).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  await run('cmp', [copy, image]);
  return error;
}

it('wipes a partition that begins and ends within a block of the host to its last byte, as dd does', async () => {
  const image = await dosDisk();
  const expected = `${image}.expected`;
  await copyFile(image, expected);
  await dd('/dev/zero', expected, swapLength, swapStart);
  const { volumes } = await sparsify(image, { zero: ['/dev/sda1'], scan: false }, {});
  expect(volumes.map(({ device, wiped }) => [device, wiped])).toEqual([
    ['/dev/sda1', true],
    ['/dev/sda2', false],
    ['/dev/sda5', false],
  ]);
  await run('cmp', [expected, image]);
});

it('refuses to ignore and to wipe one partition, by whatever names', async () => {
  const options = { ignore: ['1'], zero: ['/dev/vda1'], force: true };
  expect(await refusal(await dosDisk(), options)).toMatchObject({
    code: 'USAGE',
    message: '/dev/sda1 is to be ignored and to be wiped: choose one',
  });
});

it('refuses to wipe the partition that holds the logical ones', async () => {
  expect(await refusal(await dosDisk(), { zero: ['/dev/sda2'], force: true })).toMatchObject({ code: 'USAGE' });
});

it('refuses to wipe a partition that shares bytes with another, forced or not', async () => {
  const image = await dosDisk();
  // sfdisk writes no such table: the second entry of the MBR is moved by hand into the first.
  const file = await open(image, 'r+');
  await file.write(Buffer.from(Uint32Array.of(swapStart + 8).buffer), 0, 4, 446 + 16 + 8);
  await file.close();
  expect(await refusal(image, { zero: ['/dev/sda1'], force: true })).toMatchObject({ code: 'UNSAFE' });
});

it('wipes no swap of a guest that sleeps unless forced', async () => {
  const { image, swapOffset } = await makeGuestDisk();
  const file = await open(image, 'r+');
  await file.write(Buffer.from('S1SUSPEND\0'), 0, 10, swapOffset + 4096 - 10);
  await file.close();
  expect(await refusal(image, { zero: ['/dev/sda2'] })).toMatchObject({ code: 'UNSAFE' });
});
