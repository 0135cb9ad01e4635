import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RangeSet } from '../../../src/binary/range-set.js';
import type { BlockDevice } from '../../../src/device/block-device.js';
import { HolesLayer } from '../../../src/device/layer/holes.js';
import { Slice } from '../../../src/device/layer/slice.js';
import { withLayers } from '../../../src/device/layer/stack.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { openImage } from '../../../src/image/open-image.js';
import { temporaryFolder } from '../../support/temporary.js';

async function image(): Promise<BlockDevice> {
  const path = join(await temporaryFolder(), 'a.img');
  await writeFile(path, randomBytes(8192));
  return await openImage(path, { access: 'write', format: 'raw' });
}

test('who reads the file past the layers is let through, told of and counted as who reads it through them', async () => {
  const lines: string[] = [];
  const below = await image();
  const { hostFile } = below.facts;
  const { device, stats } = withLayers(below, {
    errors: { rate: 1, errno: 'ENOSPC', range: RangeSet.of([{ offset: 4096n, length: 512n }]) },
    delays: { read: 1 },
    rate: 1e9,
    stats: true,
    log: (line) => lines.push(line),
  });
  await using _ = device;
  const { guardedFile } = device.facts;
  expect(guardedFile?.file).toEqual(hostFile);
  await guardedFile?.admit(512n, 1024n, {});
  await expect(guardedFile?.admit(4096n, 1n, {})).rejects.toMatchObject({ errno: 'ENOSPC' });
  expect(stats?.stats.get('read')).toMatchObject({ requests: 2, failures: 1, bytes: 1024n });
  expect(lines.map((line) => line.replace(/microseconds=\d+/, 'microseconds=N'))).toEqual([
    '1 read offset=0x200 length=0x400',
    '1 end microseconds=N result=ok',
    '2 read offset=0x1000 length=0x1',
    '2 end microseconds=N result=ENOSPC',
  ]);
});

test.each([
  ['an overlay', { overlay: memoryDevice(8192n) }],
  ['a rounding', { rounding: { to: 4096n, direction: 'up' as const } }],
])('no file is to be read past %s, nor past what lies over it', async (_what, layers) => {
  const { device } = withLayers(await image(), { ...layers, errors: { rate: 0 } });
  await using _ = device;
  expect(device.facts).toMatchObject({ hostFile: undefined, guardedFile: undefined });
});

test('a part of a device with layers hands the file on from where it begins, and the layers hear of their own bytes', async () => {
  const below = await image();
  const holes = RangeSet.of([{ offset: 1024n, length: 1024n }]);
  const seen: bigint[] = [];
  const { device } = withLayers(new HolesLayer(below, holes), {
    log: (line) => {
      const offset = /offset=(\S+)/.exec(line)?.[1];
      if (offset !== undefined) seen.push(BigInt(offset));
    },
  });
  await using _ = device;
  const { hostFile, guardedFile } = new Slice(device, 512n, 4096n).facts;
  expect(hostFile).toBeUndefined();
  expect(guardedFile?.file).toMatchObject({ fd: below.facts.hostFile?.fd, offset: 512n });
  await guardedFile?.admit(100n, 10n, {});
  expect(seen).toEqual([612n]);
  expect(guardedFile?.holds?.(0n, 512n)).toBe(true);
  expect(guardedFile?.holds?.(0n, 513n)).toBe(false);
  expect(guardedFile?.holds?.(512n, 1n)).toBe(false);
  expect(guardedFile?.holds?.(1536n, 512n)).toBe(true);
});
