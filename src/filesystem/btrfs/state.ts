import { roundDown } from '../../binary/convert.js';
import type { RequestOptions } from '../../device/block-device.js';
import { hasCode } from '../../error/disk-error.js';
import type { FilesystemState } from '../filesystem.js';
import { isBeingReplaced } from './device-extents.js';
import { compatRo, incompat, replacementId, superblockOffsets, superFlags, superFlagsHigh } from './on-disk.js';
import type { BtrfsVolume } from './volume.js';

/** Features with which everything that is read here means what it always did. */
const understood = {
  incompat: [
    'MIXED_BACKREF',
    'DEFAULT_SUBVOL',
    'MIXED_GROUPS',
    'COMPRESS_LZO',
    'COMPRESS_ZSTD',
    'BIG_METADATA',
    'EXTENDED_IREF',
    'SKINNY_METADATA',
    'NO_HOLES',
    'METADATA_UUID',
  ],
  compatRo: ['FREE_SPACE_TREE', 'FREE_SPACE_TREE_VALID', 'VERITY'],
} as const;

/**
 * Whether what the disk says can be believed. Every commit leaves it whole: only a log tree says more. A balance that was
 * interrupted stands in nobody's way.
 *
 * @throws {DiskError} IO, CANCELLED
 */
export async function readState(volume: BtrfsVolume, options: RequestOptions): Promise<FilesystemState> {
  const { superblock, device } = volume;
  const unknown = [
    ...incompat.beyond(superblock.incompat, understood.incompat),
    ...compatRo.beyond(superblock.compatRo, understood.compatRo),
    ...(superblock.highFeatures ? ['a feature past bit 31'] : []),
  ].map((name) => name.toLowerCase().replaceAll('_', '-'));
  const [feature] = unknown;
  if (feature !== undefined) return unsupported(feature, `it uses ${unknown.join(', ')}, which disktool does not know`);
  if (superblock.device.id === replacementId) {
    return unsupported('device replacement', 'it is to replace another device, and has not all of it yet');
  }
  if (superblock.deviceCount !== 1n) {
    return unsupported('several devices', `it has ${superblock.deviceCount} devices, and disktool reads one alone`);
  }
  if (superFlagsHigh.has(superblock.flagsHigh, 'SEEDING')) {
    return unsupported('seed device', 'it is a seed, which other filesystems may stand on');
  }
  const flags = [
    ...superFlags.beyond(superblock.flags, ['WRITTEN', 'RELOC', 'ERROR']),
    ...superFlagsHigh.names(superblock.flagsHigh),
    ...superFlagsHigh.beyond(superblock.flagsHigh, []).filter((name) => name.startsWith('bit ')),
  ].map((name) => name.toLowerCase().replaceAll('_', '-'));
  const [flag] = flags;
  if (flag !== undefined) return unsupported(flag, `it is marked with ${flags.join(', ')}: finish what made it so`);
  if (superblock.offset !== superblockOffsets[0]) {
    const reason = `its first superblock is damaged, or older than the one at byte ${superblock.offset}: run btrfs rescue super-recover`;
    return { kind: 'damaged', reason };
  }
  if (superFlags.has(superblock.flags, 'ERROR')) {
    return { kind: 'damaged', reason: 'it is marked with errors: run btrfs check on it' };
  }
  const { totalBytes } = superblock.device;
  if (totalBytes > device.facts.size) {
    const reason = `it has ${totalBytes} bytes, and lies on only ${device.facts.size}: it was cut short`;
    return { kind: 'damaged', reason };
  }
  // The kernel does not mount what has less in all than its device; more is what a device left behind that went.
  const whole = (bytes: bigint) => roundDown(bytes, BigInt(superblock.sectorSize));
  if (whole(superblock.totalBytes) !== whole(totalBytes)) {
    const reason = `it counts ${superblock.totalBytes} bytes in all, and ${totalBytes} of its only device: run btrfs rescue fix-device-size`;
    return { kind: 'damaged', reason };
  }
  if (superblock.hasLog) {
    return {
      kind: 'needs-recovery',
      replayable: false,
      reason: 'its log tree needs to be replayed: start the guest and shut it down properly, or mount it once',
    };
  }
  return await readTrees(volume, options);
}

/** Whether its device is the only one is known by its chunks. */
async function readTrees(volume: BtrfsVolume, options: RequestOptions): Promise<FilesystemState> {
  try {
    await volume.chunks(options);
    if (await isBeingReplaced(volume, options)) {
      return unsupported('device replacement', 'its device is being replaced: let that come to its end');
    }
  } catch (error) {
    if (hasCode(error, 'CORRUPT')) return { kind: 'damaged', reason: error.message };
    if (hasCode(error, 'UNSUPPORTED')) return unsupported(error.facts.reason ?? 'chunks', error.message);
    throw error;
  }
  return { kind: 'clean' };
}

function unsupported(feature: string, reason: string): FilesystemState {
  return { kind: 'unsupported', feature, reason };
}
