import { copyFile, readFile } from 'node:fs/promises';
import { expect } from 'vitest';
import { viewOf } from '../../../../src/binary/layout.js';
import { openExt } from '../../../../src/filesystem/ext/ext.js';
import {
  blockTag,
  blockTagHigh,
  commitHeader,
  journalHeader,
  journalSuperblock,
  revokeHeader,
} from '../../../../src/filesystem/ext/journal/on-disk.js';
import { debugfs, dumpe2fs, extImage } from '../../../support/ext-image.js';
import { type Checksum, changeJournal, ownBytes, withReplayed, writeJournal } from '../../../support/ext-journal.js';
import { needs } from '../../../support/needs.js';
import { openRaw } from '../../../support/raw-device.js';

const it = needs({ programs: ['mke2fs', 'debugfs', 'dumpe2fs'] });
const blockSize = 1024;
/** A block that is free in all of the images. */
const free = 15_000;
const text = (words: string) => new TextEncoder().encode(`${words}, `);

/**
 * Three transactions of one block each, and a fourth that revokes. In the journal: 1 to 3 are descriptor, data and commit
 * block of the first, 4 to 6 those of the second, 7 to 9 those of the third, 10 and 11 the revocation and its commit.
 */
const log = [
  { blocks: [[free, text('one')] as const] },
  { blocks: [[free + 1, text('two')] as const] },
  { blocks: [[free + 2, text('three')] as const] },
  { revoke: [free + 3] },
];

/** debugfs chooses the checksums of a journal by those of the filesystem. */
const withoutChecksums = '-t ext4 -O ^metadata_csum,uninit_bg';
const shapeFor = { none: withoutChecksums, v1: withoutChecksums, v2: '-t ext4', v3: '-t ext4' };

async function dirty(checksum: Checksum = 'none', mke2fs = shapeFor[checksum]): Promise<string> {
  const { path } = await extImage({ mke2fs: `${mke2fs} -b 1024 -N 512`, size: '16M', keep: true }, 10);
  await writeJournal(path, checksum, blockSize, checksum === 'v1' ? log.slice(0, 3) : log);
  return path;
}

/** Why nothing of it is free; undefined when something is. */
async function refusal(path: string): Promise<string | undefined> {
  await using device = await openRaw(path);
  try {
    const found = await (await openExt(device)).freeSpace();
    expect(found.total).toBeGreaterThan(0n);
    return undefined;
  } catch (error) {
    expect(error).toMatchObject({ name: 'DiskError', code: 'UNSAFE', facts: { reason: 'journal' } });
    return error instanceof Error ? error.message : undefined;
  }
}

/** Of the blocks that the log writes, those that its replay has written: their first words. */
async function written(path: string): Promise<string[]> {
  return await withReplayed(path, async (view) => {
    const words: string[] = [];
    for (let i = 0; i < 3; i++) {
      const block = Buffer.alloc(blockSize);
      await view.read(block, BigInt((free + i) * blockSize));
      words.push(block.toString('latin1', 0, 5).replace(/\W.*/s, ''));
    }
    return words.filter((word) => word !== '');
  });
}

type Superblock = Parameters<typeof journalSuperblock.put>[1];
const patchLog = (path: string, values: Superblock) =>
  changeJournal(path, 0, (bytes) => journalSuperblock.put(viewOf(bytes), values));
const patchHeader = (path: string, block: number, values: Parameters<typeof journalHeader.put>[1]) =>
  changeJournal(path, block, (bytes) => journalHeader.put(viewOf(bytes), values));
const patchTag = (path: string, block: number, values: Parameters<typeof blockTag.put>[1]) =>
  changeJournal(path, block, (bytes) => blockTag.put(viewOf(bytes), values, journalHeader.size));
const flip = (path: string, block: number, at: number) =>
  changeJournal(path, block, (bytes) => {
    bytes[at] = (bytes[at] ?? 0) ^ 1;
  });

/** Makes each change to a copy, and looks at what becomes of it. */
async function inTurn<Case extends readonly unknown[]>(
  image: string,
  cases: readonly Case[],
  look: (copy: string, ...rest: Case) => Promise<void>,
): Promise<void> {
  for (const each of cases) {
    const copy = `${image}.copy`;
    await copyFile(image, copy);
    await look(copy, ...each);
  }
}

it('an image that debugfs gave a journal is replayed to its end', async () => {
  for (const checksum of ['none', 'v1', 'v2', 'v3'] as const) {
    const path = await dirty(checksum);
    expect(await refusal(path)).toBeUndefined();
    expect(await written(path)).toEqual(['one', 'two', 'three']);
  }
});

it('a superblock of version 1, which has no features, is replayed', async () => {
  const path = await dirty('none', '-t ext3 -O ^64bit');
  await patchLog(path, { h_blocktype: 3 });
  expect(await refusal(path)).toBeUndefined();
  expect(await written(path)).toEqual(['one', 'two', 'three']);
});

it('a superblock that makes no sense, or has features that are not known, leaves it alone', async () => {
  const cases: [values: Superblock, reason: string][] = [
    [{ h_magic: 1 }, 'h_magic is 0x1'],
    [{ h_blocktype: 2 }, 'h_blocktype is 2'],
    [{ s_blocksize: 2048 }, 's_blocksize is 2048'],
    [{ s_maxlen: 1025 }, 's_maxlen is 1025'],
    [{ s_maxlen: 2 }, 's_maxlen is 2'],
    [{ s_first: 0 }, 's_first is 0'],
    [{ s_first: 1024 }, 's_first is 1024'],
    [{ s_start: 1024 }, 's_start is 1024'],
    [{ s_errno: 0xffff_fffb }, 's_errno is 4294967291, expected 0: the journal was given up'],
    [{ s_feature_incompat: 3 | (1 << 6) }, 's_feature_incompat is bit 6'],
    [{ s_feature_incompat: 3 | (1 << 3) | (1 << 4) }, 'checksums v2 and v3'],
    [{ s_feature_compat: 2 }, 's_feature_compat is bit 1'],
    [{ s_feature_ro_compat: 1 }, 's_feature_ro_compat is bit 0'],
    [{ s_nr_users: 2 }, 's_nr_users is 2'],
  ];
  await inTurn(await dirty(), cases, async (copy, values, reason) => {
    await patchLog(copy, values);
    expect(await refusal(copy)).toContain(`its journal is not replayed: jbd2 superblock at byte`);
    expect(await refusal(copy)).toContain(reason);
  });
});

it('a block that is missing in the middle of the log leaves it alone', async () => {
  const cases: [block: number, values: Parameters<typeof patchHeader>[2], reason: string][] = [
    [1, { h_magic: 0 }, 'a part of it is lost'],
    [4, { h_magic: 0 }, 'a part of it is lost'],
    [6, { h_magic: 0 }, 'a part of it is lost'],
    // Nothing comes behind the last transaction but its own commit block.
    [10, { h_magic: 0 }, 'a part of it is lost'],
    [4, { h_sequence: 3 }, 'a part of it is lost'],
    [4, { h_blocktype: 4 }, 'h_blocktype is 4'],
    [4, { h_blocktype: 9 }, 'h_blocktype is 9'],
  ];
  await inTurn(await dirty(), cases, async (copy, block, values, reason) => {
    await patchHeader(copy, block, values);
    expect(await refusal(copy)).toContain(reason);
  });
});

it('a last transaction that was not committed is the end of the log', async () => {
  const path = await dirty();
  await patchHeader(path, 11, { h_magic: 0 });
  expect(await refusal(path)).toBeUndefined();
  await patchHeader(path, 10, { h_magic: 0 });
  await patchHeader(path, 9, { h_magic: 0 });
  expect(await refusal(path)).toBeUndefined();
  expect(await written(path)).toEqual(['one', 'two']);
});

it('what an earlier round through the log has left behind its end says nothing', async () => {
  const path = await dirty();
  const values = { h_magic: 0xc03b3998, h_blocktype: 2, h_sequence: 0xffff_fff0 };
  await patchHeader(path, 700, values);
  expect(await refusal(path)).toBeUndefined();
  await patchHeader(path, 700, { ...values, h_sequence: 6 });
  expect(await refusal(path)).toContain('h_sequence is 6');
});

it('a log that goes on past the place where it began leaves it alone', async () => {
  const path = await dirty();
  await patchLog(path, { s_maxlen: 10, s_start: 2, s_sequence: 2 });
  // The tags of a descriptor that is full of them are more than the 9 blocks of the log.
  await patchHeader(path, 2, { h_magic: 0xc03b3998, h_blocktype: 1, h_sequence: 2 });
  await changeJournal(path, 2, (bytes) => bytes.fill(0, journalHeader.size));
  expect(await refusal(path)).toContain('longer than the log');
});

it('transactions are numbered round the end of 32 bits', async () => {
  const path = await dirty();
  await patchLog(path, { s_sequence: 0xffff_fffe });
  const sequences = [0xffff_fffe, 0xffff_ffff, 0, 1];
  for (const [i, block] of [1, 3, 4, 6, 7, 9, 10, 11].entries()) {
    await patchHeader(path, block, { h_sequence: sequences[Math.floor(i / 2)] ?? 0 });
  }
  expect(await refusal(path)).toBeUndefined();
  expect(await written(path)).toEqual(['one', 'two', 'three']);
});

it('a tag for a block that no transaction writes to leaves it alone', async () => {
  const path = await dirty();
  const own = await ownBytes(path);
  const [journal] = own;
  const inside = Number((journal?.offset ?? 0n) / BigInt(blockSize)) + 500;
  const cases: [values: Parameters<typeof patchTag>[2], reason: string][] = [
    [{ t_blocknr: 0 }, 'block of tag 0 is 0, expected one of the filesystem'],
    [{ t_blocknr: 16_384 }, 'block of tag 0 is 16384, expected one of the filesystem'],
    [{ t_blocknr: inside }, `block of tag 0 is ${inside}, expected one outside of the journal itself`],
    [{ t_flags: 12 }, 'tag 0 is flagged deleted, last_tag (0xc)'],
  ];
  await inTurn(path, cases, async (copy, values, reason) => {
    await patchTag(copy, 4, values);
    expect(await refusal(copy)).toContain(reason);
  });
  await changeJournal(path, 4, (bytes) => {
    blockTagHigh.put(viewOf(bytes), { t_blocknr_high: 1 }, journalHeader.size + blockTag.size);
  });
  expect(await refusal(path)).toContain(`block of tag 0 is ${2 ** 32 + free + 1}`);
});

it('a revocation block that makes no sense leaves it alone', async () => {
  const counts = [0, 15, 17, 23, 1025, 0xffff_ffff].map((count): [number] => [count]);
  const path = await dirty();
  await inTurn(path, counts, async (copy, count) => {
    await changeJournal(copy, 10, (bytes) => revokeHeader.put(viewOf(bytes), { r_count: count }));
    expect(await refusal(copy)).toContain('r_count');
  });
  await changeJournal(path, 10, (bytes) => viewOf(bytes).setBigUint64(revokeHeader.size, 1n << 60n));
  expect(await refusal(path)).toContain(`revoked block is ${1n << 60n}`);
});

it('a checksum v1 that is wrong leaves it alone, and one that is not there does not', async () => {
  const path = await dirty('v1');
  const cases: [block: number, at: number][] = [
    [4, 500],
    [5, 100],
    [6, commitHeader.fields.h_chksum.offset],
    [6, commitHeader.fields.h_chksum_type.offset],
    [6, commitHeader.fields.h_chksum_size.offset],
    [8, 1023],
  ];
  await inTurn(path, cases, async (copy, block, at) => {
    await flip(copy, block, at);
    expect(await refusal(copy)).toContain('h_chksum');
  });
  await changeJournal(path, 6, (bytes) => {
    commitHeader.put(viewOf(bytes), { h_chksum_type: 0, h_chksum_size: 0, h_chksum: 0 });
  });
  expect(await refusal(path)).toBeUndefined();
});

for (const checksum of ['v2', 'v3'] as const) {
  it(`any bit that a checksum ${checksum} covers leaves it alone when it is wrong`, async () => {
    const cases: [block: number, at: number, reason: string][] = [
      [0, 0x48, 's_checksum'],
      [4, 500, 'a part of it is lost'],
      [4, 1023, 'a part of it is lost'],
      [5, 0, 'as its tag has it'],
      [5, 1023, 'as its tag has it'],
      [6, 500, 'h_chksum'],
      [10, 500, 'a part of it is lost'],
    ];
    await inTurn(await dirty(checksum), cases, async (copy, block, at, reason) => {
      await flip(copy, block, at);
      expect(await refusal(copy)).toContain(reason);
    });
  });

  it(`a block of the last transaction that a crash has torn is the end of the log, with checksums ${checksum}`, async () => {
    const path = await dirty(checksum);
    await flip(path, 10, 500);
    await patchHeader(path, 11, { h_magic: 0 });
    expect(await refusal(path)).toBeUndefined();
    expect(await written(path)).toEqual(['one', 'two', 'three']);
  });
}

it('fast commits leave it alone, and room for them does not', async () => {
  const path = await dirty();
  await patchLog(path, { s_feature_incompat: 3 | (1 << 5), s_num_fc_blks: 100 });
  expect(await refusal(path)).toBeUndefined();
  await inTurn(path, [[924], [1023]], async (copy, block) => {
    await flip(copy, block, 0);
    expect(await refusal(copy)).toContain('fast commits is there, expected none: disktool does not replay them');
  });
  // Of a log that goes round, kernels disagree where its end is.
  await patchLog(path, { s_num_fc_blks: 1024 - 8 });
  expect(await refusal(path)).toMatch(/kernels differ|fast commits/);
});

it('a journal that lies where it cannot leaves it alone', async () => {
  const path = await dirty();
  const cases: [command: string, reason: string][] = [
    ['set_inode_field <8> mode 040600', 'i_mode'],
    ['set_inode_field <8> size 0x200000', 'a hole'],
    ['punch <8> 100 110', 'a hole'],
    ['set_inode_field <8> size 0', 'it has none'],
  ];
  await inTurn(path, cases, async (copy, command, reason) => {
    await debugfs(copy, command);
    expect(await refusal(copy)).toContain(reason);
  });
});

it('a journal of indirect blocks that names a block twice leaves it alone', async () => {
  const path = await dirty('none', '-t ext3');
  expect(await refusal(path)).toBeUndefined();
  const [run] = await ownBytes(path);
  const first = Number((run?.offset ?? 0n) / BigInt(blockSize));
  await inTurn(
    path,
    [
      [`${first + 1}`, 'twice'],
      ['3', 'in it'],
    ],
    async (copy, block, reason) => {
      await debugfs(copy, `set_inode_field <8> block[3] ${block}`);
      expect(await refusal(copy)).toContain(reason);
    },
  );
});

it('what the journal writes counts: errors that it marks, and a journal that it moves', async () => {
  const { path } = await extImage({ mke2fs: '-t ext4 -b 1024 -O ^metadata_csum,uninit_bg -N 512', size: '16M' }, 10);
  const changed = `${path}.changed`;
  const cases: [command: string, reason: string][] = [
    ['set_super_value state 3', 'and then it is marked as having errors'],
    ['set_super_value state 0', 'and then it was not unmounted in good order'],
    ['set_super_value feature_incompat 0x80000242', 'and then it uses bit 31'],
    ['set_inode_field <8> mode 040600', 'i_mode'],
    ['set_inode_field <8> size 0x80000', 'moves the journal itself'],
  ];
  await inTurn(path, cases, async (copy, command, reason) => {
    await copyFile(path, changed);
    await debugfs(changed, command);
    await writeJournal(copy, 'none', blockSize, [{ blocks: await changedBlocks(path, changed) }]);
    expect(await refusal(copy)).toContain(reason);
  });
});

/** The blocks in which an image differs from another, as a transaction would write them. */
async function changedBlocks(before: string, after: string): Promise<(readonly [number, Uint8Array])[]> {
  const [a, b] = [await readFile(before), await readFile(after)];
  const found: (readonly [number, Uint8Array])[] = [];
  for (let at = 0; at < a.length; at += blockSize) {
    const block = b.subarray(at, at + blockSize);
    if (a.compare(block, 0, blockSize, at, at + blockSize) !== 0) found.push([at / blockSize, block]);
  }
  return found;
}

it('a filesystem that needs recovery and whose journal is empty is as it lies', async () => {
  const { path } = await extImage({ mke2fs: '-t ext4 -b 1024', size: '16M' });
  const { free } = await dumpe2fs(path);
  await debugfs(path, 'feature needs_recovery');
  await using device = await openRaw(path);
  const filesystem = await openExt(device);
  expect(filesystem.state).toMatchObject({ kind: 'needs-recovery', replayable: true });
  expect([...(await filesystem.freeSpace())]).toEqual([...free]);
});

it('a filesystem that says that it is clean is left alone when its journal is not empty, or was given up', async () => {
  const path = await dirty();
  await debugfs(path, 'feature -needs_recovery');
  expect(await refusal(path)).toContain('its journal is not empty');
  await patchLog(path, { s_start: 0 });
  expect(await refusal(path)).toBeUndefined();
  await patchLog(path, { s_errno: 5 });
  await using device = await openRaw(path);
  await expect((await openExt(device)).freeSpace()).rejects.toMatchObject({
    code: 'CORRUPT',
    facts: { field: 's_errno' },
  });
});

it('what stands in the way besides the journal still does', async () => {
  const cases: [command: string, state: object][] = [
    ['set_super_value state 3', { kind: 'damaged' }],
    ['set_super_value state 0', { kind: 'needs-recovery', replayable: false }],
    ['set_super_value state 5', { kind: 'needs-recovery', replayable: false }],
    ['feature -has_journal', { kind: 'needs-recovery', replayable: false }],
  ];
  await inTurn(await dirty(), cases, async (copy, command, state) => {
    await debugfs(copy, command);
    await using device = await openRaw(copy);
    const filesystem = await openExt(device);
    expect(filesystem.state).toMatchObject(state);
    await expect(filesystem.freeSpace()).rejects.toMatchObject({ code: 'UNSAFE' });
  });
});
