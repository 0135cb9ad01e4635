import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { hex } from '../../error/message.js';
import type { SectorSize } from '../partition.js';
import { checkEntries } from './entries.js';
import { type GptHeader, readGptHeader } from './header.js';
import { gptHeader } from './on-disk.js';

/** A header and its entries, both sound. */
export interface SoundCopy {
  readonly header: GptHeader;
  readonly array: DataView;
}

/** What is wrong with a copy; its header may be sound all the same. */
export interface FlawedCopy {
  readonly flaw: DiskError;
  readonly header?: GptHeader | undefined;
}

export type Copy = SoundCopy | FlawedCopy;

export function isSound(copy: Copy): copy is SoundCopy {
  return 'array' in copy;
}

/**
 * Reads one of the two copies of a GPT.
 *
 * @param offset bytes from the start of the disk: where its header would stand, inside the disk or not
 */
export async function readCopy(
  device: BlockDevice,
  offset: bigint,
  sectorSize: SectorSize,
  options: RequestOptions = {},
): Promise<Copy> {
  const { name, facts } = device;
  if (offset < 0n || offset + BigInt(sectorSize) > facts.size) {
    const expected = `inside the disk of ${facts.size} bytes`;
    return { flaw: corruptHeader(device, offset, 'place', hex(offset), expected) };
  }
  const sector = await readView(device, offset, sectorSize, options);
  let header: GptHeader | undefined;
  try {
    header = readGptHeader(sector, offset, sectorSize, { name, size: facts.size });
    const array = await readView(device, header.entries.offset, header.entries.length, options);
    checkEntries(array, header, name);
    return { header, array };
  } catch (error) {
    if (!hasCode(error, 'CORRUPT')) throw error;
    return { flaw: error, header };
  }
}

/** A copy that is sound in itself, and yet not believed. */
export function reject(
  device: BlockDevice,
  { header }: SoundCopy,
  field: string,
  actual: string,
  expected: string,
): FlawedCopy {
  return { flaw: corruptHeader(device, header.offset, field, actual, expected), header };
}

function corruptHeader(
  device: BlockDevice,
  offset: bigint,
  field: string,
  actual: string,
  expected: string,
): DiskError {
  return DiskError.corrupt({ structure: gptHeader.name, offset, device: device.name, field, actual, expected });
}

/** Of several that are flawed, the one that most looks like a copy at all. */
export function likeliest([first, ...others]: readonly [FlawedCopy, ...FlawedCopy[]]): FlawedCopy {
  const looksLikeOne = ({ flaw }: FlawedCopy) => flaw.facts.field !== 'Signature' && flaw.facts.field !== 'place';
  return [first, ...others].find(looksLikeOne) ?? first;
}
