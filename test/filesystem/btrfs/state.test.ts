import { copyFile, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { viewOf } from '../../../src/binary/layout.js';
import { openBtrfs } from '../../../src/filesystem/btrfs/btrfs.js';
import { TreeNode } from '../../../src/filesystem/btrfs/node.js';
import {
  btrfsSuperblock,
  compatRo,
  deviceItem,
  deviceReplaceItem,
  incompat,
  keyTypes,
  replacementId,
  superblockOffsets,
  superblockSize,
  superFlags,
  superFlagsHigh,
} from '../../../src/filesystem/btrfs/on-disk.js';
import { readSuperblock } from '../../../src/filesystem/btrfs/superblock.js';
import { dumpedFree, dumpedPlaces, emptyBtrfs, sealCrc32c } from '../../support/btrfs-image.js';
import { loopDevice } from '../../support/loop-device.js';
import { needs } from '../../support/needs.js';
import { change } from '../../support/partition-image.js';
import { openRaw } from '../../support/raw-device.js';
import { disktool, run } from '../../support/run.js';
import { mountLoop, temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['mkfs.btrfs', 'mount'], root: true });
const plain = needs({ programs: ['mkfs.btrfs'] });
const [primary, mirror] = superblockOffsets.map(Number);

async function stateOf(path: string) {
  await using device = await openRaw(path);
  return (await openBtrfs(device)).state;
}

/** Changes fields of one superblock and makes its checksum right again. */
function patchSuperblock(path: string, values: Parameters<typeof btrfsSuperblock.put>[1], at = primary) {
  return change(path, at ?? 0, superblockSize, (bytes) => {
    btrfsSuperblock.put(viewOf(bytes), values);
    sealCrc32c(bytes);
  });
}

it('with a log tree it needs recovery, and is left as it is', async () => {
  const path = await emptyBtrfs('', '128M');
  const { mountPoint } = await mountLoop(path);
  await run('sync', ['--file-system', mountPoint]);
  await using file = await open(join(mountPoint, 'file'), 'w');
  await file.write('synced alone');
  await file.sync();
  const copy = join(await temporaryFolder(), 'copy.img');
  await copyFile(path, copy);
  expect(await stateOf(copy)).toMatchObject({ kind: 'needs-recovery', replayable: false });
  const before = await readFile(copy);
  const { status, stdout } = await disktool(['sparsify', copy]);
  expect(status).toBe(3);
  expect(stdout).toContain('its log tree needs to be replayed');
  expect(before.equals(await readFile(copy))).toBe(true);
  await using device = await openRaw(copy);
  await expect((await openBtrfs(device)).freeSpace()).rejects.toMatchObject({ code: 'UNSAFE' });
}, 60_000);

plain('of several devices each is refused by name, whatever their profile', async () => {
  const folder = await temporaryFolder();
  const paths = ['a', 'b'].map((name) => join(folder, name));
  for (const path of paths) await run('truncate', ['-s', '128M', path]);
  for (const profile of ['raid0', 'raid1', 'single']) {
    await run('mkfs.btrfs', ['-q', '-f', '-m', profile, '-d', profile, ...paths]);
    for (const path of paths) {
      expect(await stateOf(path)).toMatchObject({ kind: 'unsupported', feature: 'several devices' });
    }
  }
});

plain('of one device, a chunk that is spread over several is refused by its profile', async () => {
  const folder = await temporaryFolder();
  const paths = ['a', 'b'].map((name) => join(folder, name));
  for (const path of paths) await run('truncate', ['-s', '128M', path]);
  await run('mkfs.btrfs', ['-q', '-f', '-m', 'raid1', '-d', 'raid0', ...paths]);
  const [path = ''] = paths;
  await patchSuperblock(path, { num_devices: 1n, total_bytes: 128n << 20n });
  expect(await stateOf(path)).toMatchObject({ kind: 'unsupported', feature: 'RAID1' });
});

describe('a btrfs filesystem is left alone, and says why', () => {
  const changes: Record<string, [Parameters<typeof btrfsSuperblock.put>[1], object]> = {
    'that is a seed': [{ flags_high: superFlagsHigh.mask.SEEDING }, { kind: 'unsupported', feature: 'seed device' }],
    'that is only a dump of metadata': [
      { flags_high: superFlagsHigh.mask.METADUMP_V2 },
      { kind: 'unsupported', feature: 'metadump-v2' },
    ],
    'whose UUID is being changed': [
      { flags_high: superFlagsHigh.mask.CHANGING_FSID_V2 },
      { kind: 'unsupported', feature: 'changing-fsid-v2' },
    ],
    'that is marked with errors': [{ flags: superFlags.mask.ERROR | 1 }, { kind: 'damaged' }],
    'of zones': [{ incompat_flags: incompat.mask.ZONED }, { kind: 'unsupported', feature: 'zoned' }],
    'with extent tree v2': [
      { incompat_flags: incompat.mask.EXTENT_TREE_V2 },
      { kind: 'unsupported', feature: 'extent-tree-v2' },
    ],
    'with a raid stripe tree': [
      { incompat_flags: incompat.mask.RAID_STRIPE_TREE },
      { kind: 'unsupported', feature: 'raid-stripe-tree' },
    ],
    'with a block group tree': [
      { compat_ro_flags: compatRo.mask.BLOCK_GROUP_TREE },
      { kind: 'unsupported', feature: 'block-group-tree' },
    ],
    'with a feature that nobody knows': [{ incompat_flags: 0x8000_0000 }, { kind: 'unsupported', feature: 'bit 31' }],
    'with a feature past bit 31': [{ incompat_flags_high: 1 }, { kind: 'unsupported' }],
    'whose chunk tree is not where it should be': [{ chunk_root: 4096n }, { kind: 'damaged' }],
    'that counts more bytes than its device has': [{ total_bytes: 1n << 40n }, { kind: 'damaged' }],
    'that counts fewer bytes than its device has': [{ total_bytes: 1n << 26n }, { kind: 'damaged' }],
    'with simple quotas': [
      { incompat_flags: incompat.mask.SIMPLE_QUOTA },
      { kind: 'unsupported', feature: 'simple-quota' },
    ],
    'with a level that its root has not': [{ chunk_root_level: 1 }, { kind: 'damaged' }],
  };
  for (const [name, [values, state]] of Object.entries(changes)) {
    plain(name, async () => {
      const path = await emptyBtrfs('', '128M');
      expect(await stateOf(path)).toEqual({ kind: 'clean' });
      await patchSuperblock(path, values);
      expect(await stateOf(path)).toMatchObject(state);
      await using device = await openRaw(path);
      await expect((await openBtrfs(device)).freeSpace()).rejects.toMatchObject({
        code: expect.stringMatching(/UNSAFE|UNSUPPORTED/),
      });
    });
  }
});

it('what replaced a device is read, and neither of the two while one replaces the other', async () => {
  const path = await emptyBtrfs('-m single', '256M');
  const other = join(await temporaryFolder(), 'other.img');
  await run('truncate', ['-s', '256M', other]);
  const { mountPoint, unmount } = await mountLoop(path);
  await writeFile(join(mountPoint, 'file'), Buffer.alloc(1 << 20, 'content'));
  const target = await loopDevice(other);
  await run('btrfs', ['replace', 'start', '-B', '-f', '1', target.path, mountPoint]);
  await unmount();
  await target.detach();
  await using device = await openRaw(other);
  const filesystem = await openBtrfs(device);
  expect(filesystem.state).toEqual({ kind: 'clean' });
  expect([...(await filesystem.freeSpace())]).toEqual([...(await dumpedFree(other))]);

  const superblock = await readSuperblock(device);
  const [, leaf = ''] = /^leaf (\d+)/m.exec(await dumpTree(other, 'dev')) ?? [];
  const offset = (await dumpedPlaces(other))(BigInt(leaf));
  for (const [state, kind] of [
    [1n, 'unsupported'],
    [2n, 'clean'],
    [3n, 'clean'],
    [4n, 'unsupported'],
  ] as const) {
    await change(other, Number(offset), superblock.nodeSize, (bytes) => {
      const node = new TreeNode(superblock, BigInt(leaf), bytes, { structure: 'leaf', device: other, offset });
      const i = Array.from({ length: node.count }, (_, at) => at).find(
        (at) => node.key(at).type === keyTypes.DEV_REPLACE,
      );
      deviceReplaceItem.put(viewOf(node.data(i ?? -1)), { replace_state: state });
      sealCrc32c(bytes);
    });
    expect(await stateOf(other)).toMatchObject(kind === 'clean' ? { kind } : { kind, feature: 'device replacement' });
  }
  // What is to replace it is marked so, and tells of the trees of the other.
  await change(other, primary ?? 0, superblockSize, (bytes) => {
    deviceItem.put(viewOf(btrfsSuperblock.at(viewOf(bytes)).dev_item), { devid: replacementId });
    sealCrc32c(bytes);
  });
  expect(await stateOf(other)).toMatchObject({ kind: 'unsupported', feature: 'device replacement' });
}, 60_000);

describe('of the superblocks', () => {
  plain('the first counts while no other of the same filesystem and device is newer', async () => {
    const path = await emptyBtrfs('-L own', '128M');
    await patchSuperblock(path, { label: Buffer.concat([Buffer.from('old'), Buffer.alloc(253)]) }, mirror);
    await using device = await openRaw(path);
    expect(await openBtrfs(device)).toMatchObject({ label: 'own', state: { kind: 'clean' } });
    // One of an earlier filesystem there.
    await patchSuperblock(path, { metadata_uuid: Buffer.alloc(16, 7), generation: 1000n }, mirror);
    await patchSuperblock(path, { fsid: Buffer.alloc(16, 7), incompat_flags: 0 }, mirror);
    expect(await openBtrfs(device)).toMatchObject({ label: 'own', state: { kind: 'clean' } });
  });

  plain('a newer one makes the filesystem damaged, and so does a first that is damaged', async () => {
    const path = await emptyBtrfs('', '128M');
    const other = join(await temporaryFolder(), 'other.img');
    await copyFile(path, other);
    await patchSuperblock(path, { generation: 1000n }, mirror);
    expect(await stateOf(path)).toMatchObject({ kind: 'damaged', reason: expect.stringContaining('67108864') });
    await change(other, (primary ?? 0) + 200, 1, (bytes) => bytes.fill((bytes[0] ?? 0) ^ 1));
    expect(await stateOf(other)).toMatchObject({ kind: 'damaged', reason: expect.stringContaining('67108864') });
  });

  plain('one that tells of more than the device has is damaged', async () => {
    const path = await emptyBtrfs('', '128M');
    await run('truncate', ['-s', '127M', path]);
    expect(await stateOf(path)).toMatchObject({ kind: 'damaged', reason: expect.stringContaining('cut short') });
  });
});

plain(
  'of two copies of a tree block the second is read when the first is damaged; of one, all is refused',
  async () => {
    for (const [mkfs, readable] of [
      ['-m dup', true],
      ['-m single', false],
    ] as const) {
      const path = await emptyBtrfs(mkfs, '128M');
      await using device = await openRaw(path);
      const expected = await (await openBtrfs(device)).freeSpace();
      const dump = await run('btrfs', ['inspect-internal', 'dump-tree', '-t', 'chunk', path]);
      const [, logical = ''] = /^(?:leaf|node) (\d+)/m.exec(await dumpTree(path, 'extent')) ?? [];
      const chunks = [...dump.matchAll(/CHUNK_ITEM (\d+)\)[\s\S]*?length (\d+)[\s\S]*?stripe 0 devid 1 offset (\d+)/g)];
      const chunk = chunks.find(([, start, length]) => {
        const at = Number(logical) - Number(start);
        return at >= 0 && at < Number(length);
      });
      const at = Number(logical) - Number(chunk?.[1]) + Number(chunk?.[3]);
      await change(path, at + 500, 1, (bytes) => bytes.fill((bytes[0] ?? 0) ^ 1));
      await using again = await openRaw(path);
      const found = (await openBtrfs(again)).freeSpace();
      if (readable) expect([...(await found)]).toEqual([...expected]);
      else await expect(found).rejects.toMatchObject({ code: 'CORRUPT' });
    }
  },
);

async function dumpTree(path: string, tree: string): Promise<string> {
  return await run('btrfs', ['inspect-internal', 'dump-tree', '-t', tree, path]);
}

plain('what a mirror holds is kept where no chunk is, and the first MiB always', async () => {
  const path = await emptyBtrfs('-m single', '128M');
  await using device = await openRaw(path);
  const free = await (await openBtrfs(device)).freeSpace();
  for (const kept of [0n, 65_536n, (1n << 20n) - 1n, 64n << 20n, (64n << 20n) + 65_535n]) {
    expect(free.has(kept)).toBe(false);
  }
  expect(free.has((64n << 20n) + 65_536n)).toBe(true);
});
