import type { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { readFreeSpace } from './free-space.js';
import { JournalFile } from './journal/journal-file.js';
import { isJournalEmpty, openJournal, replayJournal } from './journal/replay.js';
import { compat, incompat } from './on-disk.js';
import { readState, remedy } from './state.js';
import { readSuperblock, type Superblock } from './superblock.js';
import { hibernatedSwapFile } from './swap-file.js';
import { ExtVolume } from './volume.js';

/** A filesystem as it is, and as it will be when its journal has been replayed. */
export interface Recovered {
  readonly before: ExtVolume;
  /** On a view of its device, with what the journal writes: in memory, nothing is written. It borrows the device. */
  readonly after: ExtVolume;
  /** Bytes of the journal, and of what says where it lies. */
  readonly own: RangeSet;
}

/**
 * Replays in memory the journal of a filesystem that needs recovery. What comes of it is read as any other filesystem, with
 * all its checksums and counts. Files that were deleted while open are there until the next mount clears them away.
 *
 * @throws {DiskError} UNSAFE, with the reason, when any of it is irregular; IO, CANCELLED
 */
export async function recover(
  device: BlockDevice,
  superblock: Superblock,
  options: RequestOptions,
): Promise<Recovered> {
  return await refusingIrregular(async () => {
    const before = await ExtVolume.open(device, superblock, options);
    const journal = await openJournal(before, options);
    const view = await replayJournal(before, journal);
    const replayed = await readSuperblock(view, options);
    await refuseUnclean(view, replayed, options);
    const after = await ExtVolume.open(view, replayed, options);
    await refuseHibernated(after, options);
    const file = await JournalFile.open(after, options);
    if (!file.isWhere(journal.file) || replayed.blockSize !== superblock.blockSize) {
      throw new DiskError('CORRUPT', 'what the journal writes moves the journal itself', { device: device.name });
    }
    return { before, after, own: file.own };
  });
}

/**
 * The free bytes of a filesystem whose journal needs recovery: those that are free before the journal is replayed and
 * after it, and never the journal's own.
 *
 * Before the replay, bitmaps and descriptors are of different moments, so that checksums and counts need not agree; what
 * the bitmaps have in use then is only kept besides, for whoever looks at the disk without the journal.
 *
 * @throws {DiskError} as {@link recover}
 */
export async function recoveredFreeSpace(
  device: BlockDevice,
  superblock: Superblock,
  options: RequestOptions,
): Promise<RangeSet> {
  const { before, after, own } = await recover(device, superblock, options);
  return await refusingIrregular(async () => {
    const freeAfter = await readFreeSpace(after.device, after.superblock, { ...options, groups: after.groups });
    const { groups } = before;
    const freeBefore = await readFreeSpace(device, superblock, { ...options, groups, verify: false });
    return freeAfter.intersect(freeBefore).subtract(own);
  });
}

async function refusingIrregular<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!hasCode(error, 'CORRUPT', 'UNSUPPORTED')) throw error;
    const message = `its journal is not replayed: ${error.message}; ${remedy}`;
    throw new DiskError('UNSAFE', message, { ...error.facts, reason: 'journal', cause: error });
  }
}

/** What stands in the way once the journal is replayed; that its superblock still asks for that does not. */
async function refuseUnclean(view: BlockDevice, superblock: Superblock, options: RequestOptions): Promise<void> {
  const recovered = superblock.incompat & ~incompat.mask.needs_recovery;
  const state = await readState(view, { ...superblock, incompat: recovered }, options);
  if (state.kind === 'clean') return;
  const message = `its journal was replayed in memory, and then ${state.reason}`;
  throw new DiskError('UNSAFE', message, { device: view.name, reason: 'journal' });
}

/** A guest that sleeps has in memory what it did since it last wrote to the journal. */
async function refuseHibernated(volume: ExtVolume, options: RequestOptions): Promise<void> {
  const path = await hibernatedSwapFile(volume, options);
  if (path === undefined) return;
  const message = `the guest is hibernated: its swap file ${path} holds a hibernation image`;
  throw new DiskError('UNSAFE', message, { device: volume.device.name, reason: 'hibernated' });
}

/**
 * Refuses a filesystem that says that its journal is empty when it is not: the kernel would throw away what it holds, and
 * e2fsck would replay it.
 *
 * @throws {DiskError} UNSAFE; CORRUPT; UNSUPPORTED; IO, CANCELLED
 */
export async function refuseForgottenJournal(volume: ExtVolume, options: RequestOptions): Promise<void> {
  const { superblock, device } = volume;
  if (!compat.has(superblock.compat, 'has_journal') || (await isJournalEmpty(volume, options))) return;
  const message = `its journal is not empty, and its superblock says that it needs no recovery: run e2fsck on it`;
  throw new DiskError('UNSAFE', message, { device: device.name, reason: 'journal' });
}
