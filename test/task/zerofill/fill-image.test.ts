import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { fillImage } from '../../../src/task/zerofill/fill-image.js';
import { needs } from '../../support/needs.js';
import { disktool, run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const mebibyte = 1 << 20;
const it = needs({ programs: ['mke2fs', 'debugfs', 'dumpe2fs', 'e2fsck'] });

/** An ext4 filesystem with one file in it, over `contents`: what is free holds what was there before. */
async function ext4Over(contents: Buffer): Promise<{ image: string; file: Buffer }> {
  const folder = await temporaryFolder();
  const file = randomBytes(3 * mebibyte + 17);
  await mkdir(join(folder, 'root'));
  await writeFile(join(folder, 'root', 'file'), file);
  const image = join(folder, 'guest.img');
  await writeFile(image, contents);
  await run('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', '-E', 'nodiscard', '-d', join(folder, 'root'), image]);
  return { image, file };
}

/** Byte ranges, half-open, that dumpe2fs lists as free. */
async function freeRanges(image: string): Promise<[start: number, end: number][]> {
  const listed = await run('dumpe2fs', [image], { env: { LC_ALL: 'C' } });
  return [...listed.matchAll(/^ {2}Free blocks: (.*)$/gm)].flatMap(([, list = '']) =>
    list
      .split(', ')
      .filter((range) => range !== '')
      .map((range): [number, number] => {
        const [first = 0, last = first] = range.split('-').map(Number);
        return [first * 4096, (last + 1) * 4096];
      }),
  );
}

/** Blocks in the ranges that are not zeros: mke2fs itself wipes the last few. */
function dirtyBlocks(bytes: Buffer, ranges: readonly (readonly [number, number])[]): number {
  const empty = Buffer.alloc(4096);
  let count = 0;
  for (const [start, end] of ranges) {
    for (let at = start; at < end; at += 4096) if (!bytes.subarray(at, at + 4096).equals(empty)) count++;
  }
  return count;
}

function without(bytes: Buffer, ranges: readonly (readonly [number, number])[]): string {
  const copy = Buffer.from(bytes);
  for (const [start, end] of ranges) copy.fill(0, start, end);
  return createHash('sha256').update(copy).digest('hex');
}

it('writes zeros to every free byte and changes no other', async () => {
  const { image, file } = await ext4Over(randomBytes(48 * mebibyte));
  await utimes(image, 1_000_000, 1_000_000);
  const [before, ranges, statsBefore] = [await readFile(image), await freeRanges(image), await stat(image)];

  const { free, zeroed, volumes } = await fillImage(image, {}, {});

  const after = await readFile(image);
  expect(ranges.length).toBeGreaterThan(0);
  expect(free).toBe(BigInt(ranges.reduce((total, [start, end]) => total + end - start, 0)));
  expect(zeroed).toBe(BigInt(4096 * dirtyBlocks(before, ranges)));
  expect(volumes).toMatchObject([{ device: '/dev/sda', type: 'ext4', leftAlone: undefined }]);
  for (const [start, end] of ranges) expect(after.subarray(start, end).equals(Buffer.alloc(end - start))).toBe(true);
  expect(without(after, ranges)).toBe(without(before, ranges));
  await run('e2fsck', ['-fn', image]);
  const copy = `${image}.file`;
  await run('debugfs', ['-R', `dump /file ${copy}`, image]);
  expect((await readFile(copy)).equals(file)).toBe(true);
  const stats = await stat(image);
  expect(stats.blocks).toBeLessThanOrEqual(statsBefore.blocks);
  expect(stats.mtimeMs).toBe(statsBefore.mtimeMs);
  expect((await fillImage(image, {}, {})).zeroed).toBe(0n);
});

it('leaves a sparse image as small as it is', async () => {
  const image = join(await temporaryFolder(), 'sparse.img');
  await run('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', image, '256M']);
  const { blocks } = await stat(image);
  const { zeroed } = await fillImage(image, {}, {});
  expect(zeroed).toBe(0n);
  expect((await stat(image)).blocks).toBe(blocks);
});

it('leaves a filesystem alone whose journal needs recovery, and exits 3', async () => {
  const { image } = await ext4Over(randomBytes(16 * mebibyte));
  await run('debugfs', ['-w', '-R', 'feature needs_recovery', image]);
  const before = await readFile(image);
  const { status, stderr } = await disktool(['zerofill', image]);
  expect(status).toBe(3);
  expect(stderr).toContain('/dev/sda: left alone: ');
  expect((await readFile(image)).equals(before)).toBe(true);
});

it('says what it did, in words and in JSON', async () => {
  const { image } = await ext4Over(randomBytes(16 * mebibyte));
  const { status, stdout } = await disktool(['zerofill', image, '--progress', 'none']);
  expect({ status, stdout }).toEqual({
    status: 0,
    stdout: expect.stringMatching(/: \S+ of \S+ free overwritten with zeros$/),
  });
  const again = await disktool(['zerofill', image, '--json', '--quiet']);
  expect(JSON.parse(again.stdout)).toMatchObject({ kind: 'image', target: image, zeroed: 0 });
});
