import { copyFile, open, writeFile } from 'node:fs/promises';
import { RangeSet } from '../../src/binary/range-set.js';
import type { BlockDevice } from '../../src/device/block-device.js';
import { readInode } from '../../src/filesystem/ext/inode.js';
import { JournalFile } from '../../src/filesystem/ext/journal/journal-file.js';
import { openJournal, replayJournal } from '../../src/filesystem/ext/journal/replay.js';
import { readSuperblock } from '../../src/filesystem/ext/superblock.js';
import { ExtVolume } from '../../src/filesystem/ext/volume.js';
import { change } from './partition-image.js';
import { openRaw } from './raw-device.js';
import { attempt, run } from './run.js';

/** One transaction, as debugfs writes it. */
export interface JournalWrite {
  /** Blocks of the filesystem, and what they become: `content` of each, repeated. */
  readonly blocks?: readonly (readonly [block: number, content: Uint8Array])[];
  readonly revoke?: readonly number[];
  /** Left without its commit block. */
  readonly torn?: boolean;
}

export type Checksum = 'none' | 'v1' | 'v2' | 'v3';

const featuresOf: Record<Checksum, RegExp> = {
  none: /^(?!.*journal_checksum)/,
  v1: /journal_checksum( |$)/,
  v2: /journal_checksum_v2/,
  v3: /journal_checksum_v3/,
};

/** Has debugfs write transactions into the journal of an image, which needs recovery then. */
export async function writeJournal(
  path: string,
  checksum: Checksum,
  blockSize: number,
  transactions: readonly JournalWrite[],
): Promise<void> {
  const commands = [`jo${checksum === 'none' ? '' : ` -c -v ${checksum.slice(1)}`}`];
  for (const [i, { blocks = [], revoke = [], torn = false }] of transactions.entries()) {
    const data = Buffer.alloc(blocks.length * blockSize);
    for (const [at, [, content]] of blocks.entries()) data.subarray(at * blockSize, (at + 1) * blockSize).fill(content);
    const file = `${path}.jw${i}`;
    if (blocks.length > 0) await writeFile(file, data);
    commands.push(
      [
        'jw',
        ...(torn ? ['-c'] : []),
        ...(blocks.length > 0 ? ['-b', blocks.map(([block]) => block).join(',')] : []),
        ...(revoke.length > 0 ? ['-r', revoke.join(',')] : []),
        ...(blocks.length > 0 ? [file] : []),
      ].join(' '),
    );
  }
  await writeFile(`${path}.debugfs`, `${[...commands, 'jc'].join('\n')}\n`);
  const said = await run('debugfs', ['-w', '-f', `${path}.debugfs`, path], { all: true, env: { LC_ALL: 'C' } });
  if (/while/.test(said)) throw new Error(said);
  // debugfs chooses another kind where the filesystem does not go with the one that it was told.
  const { stdout } = await attempt('dumpe2fs', ['-h', path], { env: { LC_ALL: 'C' } });
  const [, features = ''] = /^Journal features:(.*)$/m.exec(stdout) ?? [];
  if (!featuresOf[checksum].test(features)) throw new Error(`checksums ${checksum} became ${features}`);
}

/** A copy of an image in which e2fsprogs has replayed the journal. */
export async function replayedByDebugfs(path: string): Promise<string> {
  const copy = `${path}.replayed`;
  await copyFile(path, copy);
  // It reads the bitmaps before: they may not go with their checksums yet.
  await run('debugfs', ['-n', '-w', '-R', 'journal_run', copy], { env: { LC_ALL: 'C' } });
  return copy;
}

/** A copy of an image in which e2fsck has replayed the journal, and done nothing else. */
export async function replayedByE2fsck(path: string): Promise<string> {
  const copy = `${path}.checked`;
  await copyFile(path, copy);
  await run('e2fsck', ['-y', '-E', 'journal_only', copy], { env: { LC_ALL: 'C' } });
  return copy;
}

/** Looks at an image with its journal replayed by us. */
export async function withReplayed<Result>(
  path: string,
  look: (view: BlockDevice, own: RangeSet) => Promise<Result>,
): Promise<Result> {
  await using device = await openRaw(path);
  const volume = await ExtVolume.open(device, await readSuperblock(device));
  const journal = await openJournal(volume, {});
  return await look(await replayJournal(volume, journal), journal.file.own);
}

/** Changes a block of the journal where it lies. */
export async function changeJournal(path: string, block: number, edit: (bytes: Uint8Array) => void): Promise<void> {
  const { offset, size } = await withJournal(path, ({ blocks }) => ({
    offset: Number(blocks.offsetOf(block)),
    size: blocks.blockSize,
  }));
  await change(path, offset, size, edit);
}

/** Looks at the file that the journal of an image is. */
export async function withJournal<Result>(path: string, look: (file: JournalFile) => Result): Promise<Result> {
  await using device = await openRaw(path);
  const volume = await ExtVolume.open(device, await readSuperblock(device));
  return look(await JournalFile.open(volume, {}));
}

/** Bytes from the start of an image to the inode of its journal. */
export async function inodePlace(path: string): Promise<number> {
  await using device = await openRaw(path);
  const superblock = await readSuperblock(device);
  const { place } = await readInode(await ExtVolume.open(device, superblock), superblock.journalInode);
  return Number(place.offset);
}

/** The bytes that the journal of an image lies in. */
export function ownBytes(path: string): Promise<RangeSet> {
  return withJournal(path, ({ own }) => own);
}

/** The blocks in which two devices differ, apart from those of `ignored` bytes. */
export async function differingBlocks(
  ours: BlockDevice,
  path: string,
  blockSize: number,
  ignored: RangeSet,
): Promise<number[]> {
  const theirs = await open(path);
  const found: number[] = [];
  try {
    const piece = 1 << 20;
    const [a, b] = [Buffer.alloc(piece), Buffer.alloc(piece)];
    for (let at = 0; at < Number(ours.facts.size); at += piece) {
      const length = Math.min(piece, Number(ours.facts.size) - at);
      await ours.read(a.subarray(0, length), BigInt(at));
      await theirs.read(b, 0, length, at);
      if (a.compare(b, 0, length, 0, length) === 0) continue;
      for (let block = at; block < at + length; block += blockSize) {
        const [start, end] = [block - at, Math.min(block - at + blockSize, length)];
        if (a.compare(b, start, end, start, end) !== 0 && !ignored.has(BigInt(block))) found.push(block / blockSize);
      }
    }
  } finally {
    await theirs.close();
  }
  return found;
}

/** The blocks that hold a superblock, as bytes. */
export function superblocks(blockSize: number, backups: readonly number[]): RangeSet {
  const size = BigInt(blockSize);
  const first = blockSize === 1024 ? 1 : 0;
  return RangeSet.of([first, ...backups].map((block) => ({ offset: BigInt(block) * size, length: size })));
}
