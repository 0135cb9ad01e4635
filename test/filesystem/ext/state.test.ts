import { copyFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { rawCrc32c } from '../../../src/binary/crc.js';
import { viewOf } from '../../../src/binary/layout.js';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import {
  extMmp,
  extSuperblock,
  incompat,
  mmpSeqClean,
  mmpSeqFsck,
  superblockOffset,
} from '../../../src/filesystem/ext/on-disk.js';
import { readSuperblock } from '../../../src/filesystem/ext/superblock.js';
import type { FilesystemState } from '../../../src/filesystem/filesystem.js';
import { debugfs, extImage, patchSuperblock } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { change } from '../../support/partition-image.js';
import { openRaw } from '../../support/raw-device.js';
import { run } from '../../support/run.js';
import { mountLoop, temporaryFolder } from '../../support/temporary.js';

const programs = ['mke2fs', 'debugfs'] as const;
const it = needs({ programs });
const smallImage = (mke2fs: string, keep = false) => extImage({ mke2fs, size: '8M', keep }, 20);

/** The state, once it is sure that free space is given away in a clean one only. */
async function stateOf(path: string): Promise<FilesystemState> {
  await using device = await openRaw(path);
  const filesystem = await openExt(device);
  const { state } = filesystem;
  const code = state.kind === 'unsupported' ? 'UNSUPPORTED' : 'UNSAFE';
  if (state.kind === 'clean') expect((await filesystem.freeSpace()).count).toBeGreaterThan(0);
  else await expect(filesystem.freeSpace({ replay: false })).rejects.toMatchObject({ name: 'DiskError', code });
  return state;
}

needs({ programs: [...programs, 'mount', 'e2fsck'], root: true })(
  'a copy of a mounted ext4 needs recovery, and is clean once e2fsck has replayed its journal',
  async () => {
    const { path } = await extImage({ mke2fs: '-t ext4 -b 1024' });
    const copy = `${path}.copy`;
    const { mountPoint, unmount } = await mountLoop(path);
    await writeFile(join(mountPoint, 'more'), Buffer.alloc(3_000_000, 'x'));
    await run('sync', ['-f', mountPoint]);
    await copyFile(path, copy);
    expect(await stateOf(copy)).toMatchObject({ kind: 'needs-recovery', reason: expect.stringContaining('journal') });
    await unmount();
    expect(await stateOf(path)).toEqual({ kind: 'clean' });
    // 1: it changed something, as it should.
    await run('e2fsck', ['-fy', copy]).catch((error: unknown) => expect(error).toMatchObject({ exitCode: 1 }));
    expect(await stateOf(copy)).toEqual({ kind: 'clean' });
  },
);

needs({ programs: [...programs, 'mount'], root: true })(
  'a copy of a mounted ext2 was not unmounted in good order',
  async () => {
    const { path } = await extImage({ mke2fs: '-t ext2 -b 1024' });
    const { mountPoint, unmount } = await mountLoop(path);
    await run('sync', ['-f', mountPoint]);
    await copyFile(path, `${path}.copy`);
    await unmount();
    expect(await stateOf(`${path}.copy`)).toMatchObject({
      kind: 'needs-recovery',
      reason: expect.stringContaining('not unmounted'),
    });
    expect(await stateOf(path)).toEqual({ kind: 'clean' });
  },
);

it('errors that the kernel has marked make it damaged', async () => {
  const { path } = await smallImage('-t ext4');
  await debugfs(path, 'set_super_value state 3');
  expect(await stateOf(path)).toMatchObject({ kind: 'damaged', reason: expect.stringContaining('e2fsck') });
});

it('a state without VALID_FS is not clean', async () => {
  const { path } = await smallImage('-t ext4');
  await debugfs(path, 'set_super_value state 0');
  expect(await stateOf(path)).toMatchObject({ kind: 'needs-recovery' });
});

it('the recovery flag counts without a journal, and at revision 0', async () => {
  const { path } = await smallImage('-t ext2 -b 1024 -r 0 -O none');
  await patchSuperblock(path, { s_feature_incompat: 1 << 2 });
  expect(await stateOf(path)).toMatchObject({ kind: 'needs-recovery' });
});

it('files that were deleted while open keep their blocks, and nothing else is wrong', async () => {
  const { path } = await smallImage('-t ext4');
  await patchSuperblock(path, { s_last_orphan: 12 });
  expect(await stateOf(path)).toEqual({ kind: 'clean' });
});

/** Changes the block of multiple mount protection of an image with blocks of 1 KiB, checksummed by the UUID. */
async function patchMmp(path: string, values: Parameters<typeof extMmp.put>[1], seal = true): Promise<void> {
  let place = 0;
  let seed = 0;
  await change(path, Number(superblockOffset), extSuperblock.size, (bytes) => {
    const { s_mmp_block, s_uuid } = extSuperblock.at(viewOf(bytes));
    place = Number(s_mmp_block) * 1024;
    seed = rawCrc32c(0xffff_ffff, s_uuid);
  });
  await change(path, place, extMmp.size, (bytes) => {
    extMmp.put(viewOf(bytes), values);
    const covered = bytes.subarray(0, extMmp.fields.mmp_checksum.offset);
    if (seal) extMmp.put(viewOf(bytes), { mmp_checksum: rawCrc32c(seed, covered) });
  });
}

async function incompatOf(path: string): Promise<number> {
  await using device = await openRaw(path);
  return (await readSuperblock(device)).incompat;
}

it('multiple mount protection that is alive means that it is in use', async () => {
  const { path } = await smallImage('-t ext4 -b 1024 -O mmp', true);
  expect(await stateOf(path)).toEqual({ kind: 'clean' });
  const changed = async (...how: [Parameters<typeof extMmp.put>[1], boolean?]) => {
    const copy = `${path}.copy`;
    await copyFile(path, copy);
    await patchMmp(copy, ...how);
    return await stateOf(copy);
  };
  expect(await changed({ mmp_seq: mmpSeqClean })).toEqual({ kind: 'clean' });
  expect(await changed({ mmp_seq: 1 })).toMatchObject({ kind: 'in-use', reason: expect.stringContaining('mounted') });
  // The guest that crashed and the one that runs leave the same: the protection decides.
  await patchSuperblock(path, { s_feature_incompat: (await incompatOf(path)) | incompat.mask.needs_recovery });
  expect(await changed({ mmp_seq: 1 })).toMatchObject({ kind: 'in-use' });
  expect(await changed({ mmp_seq: mmpSeqClean })).toMatchObject({ kind: 'needs-recovery', replayable: true });
  await patchSuperblock(path, { s_feature_incompat: (await incompatOf(path)) & ~incompat.mask.needs_recovery });
  expect(await changed({ mmp_seq: mmpSeqFsck })).toMatchObject({
    kind: 'in-use',
    reason: expect.stringContaining('e2fsck'),
  });
  expect(await changed({ mmp_magic: 1 })).toMatchObject({ kind: 'damaged' });
  expect(await changed({ mmp_checksum: 1 }, false)).toMatchObject({ kind: 'damaged' });
});

it('an external journal is not supported', async () => {
  const folder = await temporaryFolder();
  const journal = join(folder, 'journal');
  await run('mke2fs', ['-Fq', '-b', '1024', '-O', 'journal_dev', journal, '4M']);
  await using device = await openRaw(journal);
  await expect(openExt(device)).rejects.toMatchObject({ code: 'UNSUPPORTED', facts: { actual: 'journal_dev' } });

  const { path } = await smallImage('-t ext3 -b 1024');
  const elsewhere = { s_journal_inum: 0, s_journal_dev: 0x801 };
  for (const values of [elsewhere, { s_journal_inum: 0 }, { s_journal_dev: 0x801 }]) {
    const copy = `${path}.copy`;
    await copyFile(path, copy);
    await patchSuperblock(copy, values);
    expect(await stateOf(copy)).toMatchObject({ kind: 'unsupported', feature: 'external journal' });
  }
});

it('features that are not known are refused by their name', async () => {
  const { path } = await smallImage('-t ext4 -b 1024');
  let before = { s_feature_compat: 0, s_feature_incompat: 0, s_feature_ro_compat: 0 };
  await change(path, Number(superblockOffset), extSuperblock.size, (bytes) => {
    before = extSuperblock.values(viewOf(bytes));
  });
  const cases: [keyof typeof before, number, string][] = [
    ['s_feature_incompat', 0, 'compression'],
    ['s_feature_incompat', 12, 'dirdata'],
    ['s_feature_incompat', 5, 'bit 5'],
    ['s_feature_incompat', 31, 'bit 31'],
    ['s_feature_ro_compat', 7, 'snapshot'],
    ['s_feature_ro_compat', 11, 'replica'],
    ['s_feature_ro_compat', 14, 'shared_blocks'],
    ['s_feature_ro_compat', 20, 'bit 20'],
    ['s_feature_compat', 6, 'lazy_bg'],
  ];
  for (const [field, position, feature] of cases) {
    const copy = `${path}.copy`;
    await copyFile(path, copy);
    await patchSuperblock(copy, { [field]: (before[field] | (1 << position)) >>> 0 });
    expect(await stateOf(copy)).toMatchObject({
      kind: 'unsupported',
      feature,
      reason: expect.stringContaining(feature),
    });
  }
});

it('a revision that is not known is refused', async () => {
  const { path } = await smallImage('-t ext4 -b 1024');
  await patchSuperblock(path, { s_rev_level: 2 });
  expect(await stateOf(path)).toMatchObject({ kind: 'unsupported', feature: 'revision 2' });
});

it('a filesystem that is longer than its device is damaged', async () => {
  const { path } = await smallImage('-t ext4 -b 1024');
  await truncate(path, 8 * 1024 * 1024 - 512);
  expect(await stateOf(path)).toMatchObject({ kind: 'damaged', reason: expect.stringContaining('8388608') });
});
