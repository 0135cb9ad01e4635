import { open, stat } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import { RangeSet } from '../../../src/binary/range-set.js';
import { openXfs } from '../../../src/filesystem/xfs/xfs.js';
import { kernelFiles } from '../../support/kernel-files.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { disktool, run } from '../../support/run.js';
import { mountLoop } from '../../support/temporary.js';
import { xfsImage, xfsRepair } from '../../support/xfs-image.js';

const it = needs({ programs: ['mkfs.xfs', 'mount', 'getfattr'], root: true });
const slow = needs({ programs: ['mkfs.xfs', 'mount', 'getfattr', 'fallocate'], root: true, slow: true });

async function filesOf(path: string): Promise<Map<string, unknown>> {
  const { mountPoint, unmount } = await mountLoop(path, ['ro']);
  const files = kernelFiles(mountPoint);
  await unmount();
  return files;
}

describe('sparsify of XFS', () => {
  it('gives back what is free, and leaves every file and what xfs_repair says as they were', async () => {
    const path = await xfsImage({ mkfs: '-m rmapbt=1', also: 'little' });
    await fillHoles(path);
    const [files, checked, before] = [await filesOf(path), await xfsRepair(path), (await stat(path)).blocks];
    expect(await disktool(['sparsify', path])).toMatchObject({ status: 0 });
    expect(await filesOf(path)).toEqual(files);
    expect(await xfsRepair(path)).toBe(checked);
    expect((await stat(path)).blocks).toBeLessThan(before / 2);
  });
});

describe('the free space of XFS', () => {
  slow('is what the kernel trims of it', async () => {
    const path = await xfsImage({ mkfs: '', also: 'little' });
    await fillHoles(path);
    const { mountPoint, unmount } = await mountLoop(path);
    await run('fstrim', [mountPoint]);
    await unmount();
    await using device = await openRaw(path);
    const free = await (await openXfs(device)).freeSpace();
    const holes = [];
    for await (const { offset, length, zero } of device.extents()) if (zero) holes.push({ offset, length });
    expect([...RangeSet.of(holes)]).toEqual([...free]);
  });
});

/** Makes data of all that is a hole in an image: what is given back shows. */
async function fillHoles(path: string): Promise<void> {
  const file = await open(path, 'r+');
  const { size } = await file.stat();
  const buffer = Buffer.alloc(1 << 20);
  for (let at = 0; at < size; at += buffer.length) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    await file.write(buffer, 0, bytesRead, at);
  }
  await file.close();
}
