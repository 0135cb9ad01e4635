import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RangeSet } from '../../../src/binary/range-set.js';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { ErrorLayer, type ErrorOptions } from '../../../src/device/layer/error.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { temporaryFolder } from '../../support/temporary.js';

const faulty = (options: ErrorOptions) => new ErrorLayer(memoryDevice(100_000n), options);
const attempts: Record<string, (device: BlockDevice, offset?: bigint) => Promise<unknown>> = {
  read: (device, offset = 0n) => device.read(new Uint8Array(10), offset),
  write: (device, offset = 0n) => device.write(new Uint8Array(10), offset),
  zero: (device, offset = 0n) => device.zero(offset, 10n),
  trim: (device, offset = 0n) => device.trim(offset, 10n),
  flush: (device) => device.flush(),
  extents: (device, offset = 0n) => device.extents(offset, 10n).next(),
};

async function failing(device: BlockDevice, offset?: bigint): Promise<string[]> {
  const failed: string[] = [];
  for (const [name, attempt] of Object.entries(attempts)) await attempt(device, offset).catch(() => failed.push(name));
  return failed;
}

test('makes all operations fail but the question for extents', async () => {
  await using device = faulty({ rate: 1 });
  expect(await failing(device)).toEqual(['read', 'write', 'zero', 'trim', 'flush']);
  await expect(device.read(new Uint8Array(1), 5n)).rejects.toMatchObject({ code: 'IO', errno: 'EIO' });
});

test('makes the operations fail that are named, the question for extents among them, each with its own error', async () => {
  await using device = faulty({ byOperation: { extents: { rate: 1 }, write: { rate: 1, errno: 'ENOSPC' } } });
  expect(await failing(device)).toEqual(['write', 'extents']);
  await expect(device.write(new Uint8Array(1), 0n)).rejects.toMatchObject({ errno: 'ENOSPC' });
});

test('one operation can be spared by a rate of its own', async () => {
  await using device = faulty({ rate: 1, byOperation: { read: { rate: 0 } } });
  expect(await failing(device)).toEqual(['write', 'zero', 'trim', 'flush']);
});

test('fails at the rate that it is given', async () => {
  const draws = [0.1, 0.24, 0.25, 0.9, 0];
  await using device = faulty({ rate: 0.25, random: () => draws.shift() ?? 1 });
  const outcomes: boolean[] = [];
  for (let i = 0; i < 5; i++) {
    await attempts.read?.(device).then(
      () => outcomes.push(true),
      () => outcomes.push(false),
    );
  }
  expect(outcomes).toEqual([false, false, true, true, false]);
});

test('a file alone makes everything fail while it exists, and not a moment longer', async () => {
  const file = join(await temporaryFolder(), 'inject');
  await using device = faulty({ file, errno: 'ENOMEM' });
  expect(await failing(device)).toEqual([]);
  await writeFile(file, '');
  expect(await failing(device)).toEqual(['read', 'write', 'zero', 'trim', 'flush']);
  await expect(device.flush()).rejects.toMatchObject({ errno: 'ENOMEM' });
  await rm(file);
  expect(await failing(device)).toEqual([]);
});

test('only requests that touch the range fail', async () => {
  await using device = faulty({ rate: 1, range: RangeSet.of([{ offset: 1000n, length: 100n }]) });
  expect(await failing(device, 990n)).toEqual([]);
  expect(await failing(device, 991n)).toEqual(['read', 'write', 'zero', 'trim']);
  expect(await failing(device, 1099n)).toEqual(['read', 'write', 'zero', 'trim']);
  expect(await failing(device, 1100n)).toEqual([]);
});
