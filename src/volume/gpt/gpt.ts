import { roundDown } from '../../binary/convert.js';
import type { Range } from '../../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { hex } from '../../error/message.js';
import type { Partition, SectorSize } from '../partition.js';
import type { Warnings } from '../warnings.js';
import { type Copy, type FlawedCopy, isSound, likeliest, readCopy, reject, type SoundCopy } from './copy.js';
import { readEntries } from './entries.js';
import { primaryLba } from './on-disk.js';

export interface Gpt {
  readonly sectorSize: SectorSize;
  readonly diskGuid: string;
  readonly partitions: readonly Partition[];
  /** The bytes that the table itself takes. */
  readonly table: readonly Range[];
}

/** Bytes: where the protective entry ends, and so where the disk ended when it was partitioned. */
export type ProtectedEnd = (sectorSize: SectorSize) => bigint;

/** Whether a sound primary copy stands where one would be, announced or not. */
export async function hasGpt(device: BlockDevice, options: RequestOptions = {}): Promise<boolean> {
  const { small, large } = await readPrimaries(device, options);
  return isSound(small) || isSound(large);
}

/**
 * Reads the GPT of a disk whose MBR announces one. The size of its sectors is told by where a header stands. The
 * primary copy counts; the backup, when the primary is damaged.
 *
 * @throws {DiskError} CORRUPT when neither copy is sound, saying what is wrong with each
 */
export async function readGpt(
  device: BlockDevice,
  protectedEnd: ProtectedEnd,
  warnings: Warnings,
  options: RequestOptions = {},
): Promise<Gpt> {
  const { small, large } = await readPrimaries(device, options);
  if (isSound(small)) {
    if (isSound(large)) throw twoTables(device);
    return withBackup(device, small, warnings, options);
  }
  if (isSound(large)) return withBackup(device, large, warnings, options);

  const { flaw, header } = likeliest([small, large]);
  const backup = await readBackup(device, header, protectedEnd, options);
  if (!isSound(backup)) throw unusable(device, flaw, backup.flaw);
  warnings.add(`the primary GPT is damaged, its backup at byte ${hex(backup.header.offset)} is used: ${flaw.message}`);
  return toGpt(device, [backup], warnings);
}

async function readPrimaries(device: BlockDevice, options: RequestOptions): Promise<{ small: Copy; large: Copy }> {
  return {
    small: await readCopy(device, primaryLba * 512n, 512, options),
    large: await readCopy(device, primaryLba * 4096n, 4096, options),
  };
}

async function withBackup(
  device: BlockDevice,
  primary: SoundCopy,
  warnings: Warnings,
  options: RequestOptions,
): Promise<Gpt> {
  const { alternate, sectorSize } = primary.header;
  const backup = await readCopy(device, alternate, sectorSize, options);
  if (!isSound(backup)) {
    warnings.add(`the backup GPT is damaged or missing, the primary is used: ${backup.flaw.message}`);
    return toGpt(device, [primary], warnings);
  }
  if (!isSame(primary, backup)) {
    warnings.add(`the backup GPT at byte ${hex(alternate)} differs from the primary, which is used`);
  }
  if (alternate + BigInt(sectorSize) < roundDown(device.facts.size, BigInt(sectorSize))) {
    warnings.add(`the backup GPT is at byte ${hex(alternate)}, not at the end of the disk: the disk has grown since`);
  }
  return toGpt(device, [primary, backup], warnings);
}

function isSame(one: SoundCopy, other: SoundCopy): boolean {
  return (
    one.header.diskGuid === other.header.diskGuid &&
    one.header.usableStart === other.header.usableStart &&
    one.header.usableEnd === other.header.usableEnd &&
    one.header.entries.size === other.header.entries.size &&
    one.header.entries.count === other.header.entries.count &&
    one.header.entriesCrc32 === other.header.entriesCrc32
  );
}

/** Looks for the backup where the disk ends, where it ended once, and where a sound primary header says. */
async function readBackup(
  device: BlockDevice,
  primary: Copy['header'],
  protectedEnd: ProtectedEnd,
  options: RequestOptions,
): Promise<Copy> {
  const flawed: FlawedCopy[] = [];
  for (const sectorSize of primary === undefined ? ([512, 4096] as const) : [primary.sectorSize]) {
    const unit = BigInt(sectorSize);
    const last = roundDown(device.facts.size, unit) - unit;
    for (const offset of new Set([last, protectedEnd(sectorSize) - unit, primary?.alternate ?? last])) {
      if (offset <= primaryLba * unit) continue;
      const found = await readCopy(device, offset, sectorSize, options);
      const copy = isSound(found) && primary !== undefined ? ofSameDisk(device, found, primary.diskGuid) : found;
      if (isSound(copy)) return copy;
      flawed.push(copy);
    }
  }
  const [first, ...others] = flawed;
  // A disk too small for a backup: where one would be is reported as outside of it.
  return first === undefined ? readCopy(device, device.facts.size, 512, options) : likeliest([first, ...others]);
}

/** A backup that an earlier table left behind is not the backup of this one. */
function ofSameDisk(device: BlockDevice, backup: SoundCopy, diskGuid: string): Copy {
  const found = backup.header.diskGuid;
  return found === diskGuid ? backup : reject(device, backup, 'DiskGUID', found, `${diskGuid}, as in the primary`);
}

function toGpt(device: BlockDevice, copies: readonly [SoundCopy, ...SoundCopy[]], warnings: Warnings): Gpt {
  const [{ header, array }] = copies;
  const unit = BigInt(header.sectorSize);
  if (header.usableEnd > roundDown(device.facts.size, unit)) {
    warnings.add(`the GPT is of a disk of at least ${header.usableEnd} bytes, and this one has ${device.facts.size}`);
  }
  return {
    sectorSize: header.sectorSize,
    diskGuid: header.diskGuid,
    partitions: readEntries(array, header, warnings),
    table: [
      // The protective MBR and the primary header, sound or not.
      { offset: 0n, length: (primaryLba + 1n) * unit },
      ...copies.flatMap((copy) => [
        { offset: copy.header.offset, length: unit },
        { offset: copy.header.entries.offset, length: BigInt(copy.header.entries.length) },
      ]),
    ],
  };
}

function twoTables(device: BlockDevice): DiskError {
  const expected = 'one of them: wipe the header that is not in use';
  return DiskError.corrupt({
    structure: 'GPT',
    device: device.name,
    field: 'sector size',
    actual: 'both 512 and 4096 bytes by its two sound headers',
    expected,
  });
}

function unusable(device: BlockDevice, primary: DiskError, backup: DiskError): DiskError {
  const message = `no copy of the GPT of ${device.name} is usable: ${primary.message}; ${backup.message}`;
  return new DiskError('CORRUPT', `${message}; gdisk may be able to rebuild it`, { ...primary.facts, cause: backup });
}
