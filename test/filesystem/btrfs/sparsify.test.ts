import { copyFile, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openBtrfs } from '../../../src/filesystem/btrfs/btrfs.js';
import { expectAsKernel } from '../../support/as-kernel.js';
import { btrfsCheck, btrfsHead, btrfsImage, btrfsManner } from '../../support/btrfs-image.js';
import { poison } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { disktool } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['mkfs.btrfs', 'btrfs', 'mount', 'getfattr', 'fallocate'], root: true, slow: true });

it('sparsify gives back what is free of btrfs, and no other byte, superblock, file or finding of btrfs check changes', async () => {
  const path = await btrfsImage({ mkfs: '', also: 'snapshots' });
  const { free, size } = await freeOf(path);
  await poison(path, free);
  const [check, head] = [await btrfsCheck(path), await btrfsHead(path)];
  expect(check).toMatch(/^0\n/);
  const before = join(await temporaryFolder(), 'before.img');
  await copyFile(path, before);
  const { status, stderr } = await disktool(['sparsify', path]);
  expect(status, stderr).toBe(0);
  expect(BigInt((await stat(path)).blocks) * 512n).toBeLessThan(size - free.total + (1n << 20n));
  expect(await btrfsCheck(path)).toBe(check);
  expect(await btrfsHead(path)).toEqual(head);
  for (const { offset, length } of free.complement(0n, size)) {
    const [own, other] = await Promise.all([path, before].map((name) => bytesOf(name, offset, length)));
    expect(own !== undefined && other !== undefined && own.equals(other), `bytes from ${offset}`).toBe(true);
  }
  await using after = await openRaw(path);
  await expectAsKernel(path, await openBtrfs(after), await btrfsManner(path));
}, 120_000);

async function freeOf(path: string) {
  await using device = await openRaw(path);
  return { free: await (await openBtrfs(device)).freeSpace(), size: device.facts.size };
}

async function bytesOf(path: string, offset: bigint, length: bigint): Promise<Buffer> {
  await using file = await open(path);
  const bytes = Buffer.alloc(Number(length));
  await file.read(bytes, 0, bytes.length, Number(offset));
  return bytes;
}
