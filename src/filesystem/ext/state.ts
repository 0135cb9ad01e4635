import { rawCrc32c } from '../../binary/crc.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import type { FilesystemState } from '../filesystem.js';
import {
  compat,
  dynamicRevision,
  extMmp,
  incompat,
  mmpMagic,
  mmpSeqClean,
  mmpSeqFsck,
  roCompat,
  stateFlags,
} from './on-disk.js';
import type { Superblock } from './superblock.js';

/** Features with which the bitmaps mean what they always did. */
const understood = {
  incompat: [
    'filetype',
    'needs_recovery',
    'meta_bg',
    'extent',
    '64bit',
    'mmp',
    'flex_bg',
    'ea_inode',
    'metadata_csum_seed',
    'large_dir',
    'inline_data',
    'encrypt',
    'casefold',
  ],
  roCompat: [
    'sparse_super',
    'large_file',
    'btree_dir',
    'huge_file',
    'uninit_bg',
    'dir_nlink',
    'extra_isize',
    'quota',
    'bigalloc',
    'metadata_csum',
    'read-only',
    'project',
    'verity',
    'orphan_present',
  ],
} as const;

const clean: FilesystemState = { kind: 'clean' };
/** What its user can do about a filesystem that was not unmounted. */
export const remedy = 'start the guest and shut it down properly, or run e2fsck on it';

/**
 * Whether the bitmaps can be believed.
 *
 * Files that were deleted while open (s_last_orphan, orphan_present) are no reason to doubt: the bitmaps still count
 * their blocks as used.
 *
 * @throws {DiskError} IO, CANCELLED
 */
export async function readState(
  device: BlockDevice,
  superblock: Superblock,
  options: RequestOptions,
): Promise<FilesystemState> {
  const unknown = [
    ...incompat.beyond(superblock.incompat, understood.incompat),
    ...roCompat.beyond(superblock.roCompat, understood.roCompat),
    // lazy_bg leaves bitmaps unwritten and does not say so in the descriptors.
    ...(compat.has(superblock.compat, 'lazy_bg') ? ['lazy_bg'] : []),
  ];
  const [feature] = unknown;
  if (feature !== undefined) return unsupported(feature, `it uses ${unknown.join(', ')}, which disktool does not know`);
  if (superblock.revision > dynamicRevision) {
    return unsupported(
      `revision ${superblock.revision}`,
      `it is of revision ${superblock.revision}, which disktool does not know`,
    );
  }
  const { journalInode, journalDevice } = superblock;
  if (compat.has(superblock.compat, 'has_journal') && (journalInode === 0 || journalDevice !== 0)) {
    return unsupported('external journal', 'its journal lies on another device');
  }
  const size = BigInt(superblock.blockCount) * BigInt(superblock.blockSize);
  if (size > device.facts.size) {
    return { kind: 'damaged', reason: `it has ${size} bytes, and lies on only ${device.facts.size}: it was cut short` };
  }
  const { state } = superblock;
  if (stateFlags.has(state, 'ERROR_FS')) {
    return { kind: 'damaged', reason: 'it is marked as having errors: run e2fsck on it' };
  }
  const mmp = incompat.has(superblock.incompat, 'mmp') ? await readMmp(device, superblock, options) : clean;
  if (mmp.kind !== 'clean') return mmp;
  if (!stateFlags.has(state, 'VALID_FS') || stateFlags.has(state, 'ORPHAN_FS')) {
    return { kind: 'needs-recovery', replayable: false, reason: `it was not unmounted in good order: ${remedy}` };
  }
  if (incompat.has(superblock.incompat, 'needs_recovery')) {
    const replayable = compat.has(superblock.compat, 'has_journal');
    return { kind: 'needs-recovery', replayable, reason: `its journal needs recovery: ${remedy}` };
  }
  return clean;
}

async function readMmp(device: BlockDevice, superblock: Superblock, options: RequestOptions): Promise<FilesystemState> {
  const offset = BigInt(superblock.mmpBlock) * BigInt(superblock.blockSize);
  if (offset + BigInt(extMmp.size) > device.facts.size) {
    return { kind: 'damaged', reason: 'its block of multiple mount protection lies behind the end of the device' };
  }
  const view = await readView(device, offset, extMmp.size, options);
  const mmp = extMmp.at(view);
  const covered = new Uint8Array(view.buffer, view.byteOffset, extMmp.fields.mmp_checksum.offset);
  const checksummed = roCompat.has(superblock.roCompat, 'metadata_csum');
  const torn = checksummed && mmp.mmp_checksum !== rawCrc32c(superblock.checksumSeed, covered);
  if (mmp.mmp_magic !== mmpMagic || torn) {
    return { kind: 'damaged', reason: 'its block of multiple mount protection is damaged: run e2fsck on it' };
  }
  if (mmp.mmp_seq === mmpSeqClean) return clean;
  const who = mmp.mmp_seq === mmpSeqFsck ? 'e2fsck is at work on it' : 'somebody has it mounted';
  return {
    kind: 'in-use',
    reason: `${who}, by its multiple mount protection: see that nobody does, then run tune2fs -E clear_mmp`,
  };
}

function unsupported(feature: string, reason: string): FilesystemState {
  return { kind: 'unsupported', feature, reason };
}
