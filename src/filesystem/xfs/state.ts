import type { RequestOptions } from '../../device/block-device.js';
import { hasCode } from '../../error/disk-error.js';
import type { FilesystemState } from '../filesystem.js';
import { isCovered } from './covered.js';
import { isUnmountRecord, Log } from './log.js';
import { features2, incompat, roCompat, versionFlags } from './on-disk.js';
import type { XfsVolume } from './volume.js';

/** Features with which everything that is read here means what it always did. */
const understood = {
  version: ['ATTR', 'NLINK', 'QUOTA', 'ALIGN', 'DALIGN', 'LOGV2', 'SECTOR', 'EXTFLG', 'DIRV2', 'BORG', 'MOREBITS'],
  features2: ['LAZYSBCOUNT', 'ATTR2', 'PROJID32', 'CRC', 'FTYPE'],
  roCompat: ['FINOBT', 'RMAPBT', 'REFLINK', 'INOBTCNT'],
  incompat: ['FTYPE', 'SPINODES', 'META_UUID', 'BIGTIME', 'NEEDSREPAIR', 'NREXT64', 'EXCHRANGE', 'PARENT'],
} as const;

const clean: FilesystemState = { kind: 'clean' };

/**
 * Whether what the disk says can be believed: the log ends with the record of an unmount, or has nothing to recover but
 * the superblock itself.
 *
 * @throws {DiskError} IO, CANCELLED
 */
export async function readState(volume: XfsVolume, options: RequestOptions): Promise<FilesystemState> {
  const { superblock, device } = volume;
  const unknown = [
    ...versionFlags.beyond(superblock.versionFlags, understood.version),
    ...features2.beyond(superblock.features2, understood.features2),
    ...roCompat.beyond(superblock.roCompat, understood.roCompat),
    ...incompat.beyond(superblock.incompat, understood.incompat),
  ].map((name) => name.toLowerCase());
  const [feature] = unknown;
  if (feature !== undefined) return unsupported(feature, `it uses ${unknown.join(', ')}, which disktool does not know`);
  if (superblock.version === 4 && !versionFlags.has(superblock.versionFlags, 'DIRV2')) {
    return unsupported('version 1 directories', 'its directories are of version 1');
  }
  if (superblock.realtime) return unsupported('realtime device', 'a part of its files lies on a realtime device');
  if (superblock.log.start === 0n) return unsupported('external log', 'its log lies on another device');
  if (superblock.inProgress) return { kind: 'damaged', reason: 'whoever was making it did not finish' };
  const size = volume.offsetOf(superblock.blockCount);
  if (size > device.facts.size) {
    return { kind: 'damaged', reason: `it has ${size} bytes, and lies on only ${device.facts.size}: it was cut short` };
  }
  if (incompat.has(superblock.incompat, 'NEEDSREPAIR')) {
    return { kind: 'damaged', reason: 'it is marked as in need of repair: run xfs_repair on it' };
  }
  return await readLogState(volume, options);
}

async function readLogState(volume: XfsVolume, options: RequestOptions): Promise<FilesystemState> {
  try {
    const log = new Log(volume, options);
    const head = await log.head();
    const last = head === undefined ? undefined : await log.recordBefore(head);
    if (last !== undefined && (isUnmountRecord(last) || (await isCovered(log, last, volume.superblock.raw))))
      return clean;
  } catch (error) {
    if (!hasCode(error, 'CORRUPT')) throw error;
    return { kind: 'damaged', reason: error.message };
  }
  return {
    kind: 'needs-recovery',
    replayable: false,
    reason: 'its log needs recovery: start the guest and shut it down properly, or mount it once',
  };
}

function unsupported(feature: string, reason: string): FilesystemState {
  return { kind: 'unsupported', feature, reason };
}
