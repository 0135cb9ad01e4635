import { mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { planFreeze } from '../../src/task/freeze-plan.js';
import { mounted } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';
import { mountLoop } from '../support/temporary.js';

const it = needs({ programs: ['fsfreeze', 'mke2fs', 'mount'], root: true });

function pointsOf(paths: readonly string[], force = false): string[] {
  return planFreeze(paths, force).map(({ mountPoint }) => mountPoint);
}

it('freezes a loop device before the filesystem that holds its file, however they are named', async () => {
  const outer = await mounted('ext4');
  const image = join(outer.mountPoint, 'inner.img');
  await run('mke2fs', ['-q', image, '16M']);
  const inner = await mountLoop(image);
  const expected = [await realpath(inner.mountPoint), await realpath(outer.mountPoint)];
  const plans = [pointsOf([outer.mountPoint, inner.mountPoint]), pointsOf([inner.mountPoint, outer.mountPoint])];
  await inner.unmount();
  expect(plans).toEqual([expected, expected]);
});

it('freezes what is mounted inside another before it', async () => {
  const outer = await mounted('ext4');
  const other = await mounted('ext4');
  const inside = join(await realpath(outer.mountPoint), 'inside');
  await mkdir(inside);
  await run('mount', ['--bind', other.mountPoint, inside]);
  const plan = pointsOf([outer.mountPoint, inside]);
  await run('umount', [inside]);
  expect(plan).toEqual([inside, await realpath(outer.mountPoint)]);
});

it('freezes a filesystem once that is named by two of its mounts', async () => {
  const { mountPoint } = await mounted('ext4');
  const again = join(await realpath(mountPoint), 'again');
  await mkdir(again);
  await run('mount', ['--bind', mountPoint, again]);
  const plan = pointsOf([again, mountPoint]);
  await run('umount', [again]);
  expect(plan).toEqual([again]);
});

it('refuses the root filesystem, but not with force', () => {
  expect(() => planFreeze(['/'], false)).toThrow(expect.objectContaining({ code: 'UNSAFE' }));
  expect(pointsOf(['/'], true)).toEqual(['/']);
});
