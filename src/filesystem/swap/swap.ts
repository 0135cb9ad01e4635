import { min } from '../../binary/convert.js';
import { viewOf } from '../../binary/layout.js';
import { RangeSet } from '../../binary/range-set.js';
import { formatUuid } from '../../binary/uuid.js';
import { isZero } from '../../binary/zeros.js';
import type { BlockDevice } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { DeviceReader } from '../device-reader.js';
import type { FilesystemState } from '../filesystem.js';
import { decodeText } from '../text.js';
import {
  hibernationMagics,
  oldSwapMagic,
  swapHeader,
  swapHeaderOffset,
  swapHeaderSwapped,
  swapMagic,
  swapPageSizes,
  swapSignature,
  swapSignatureSize,
  swapVersion,
  tuxOnIceMagic,
} from './on-disk.js';

/** A swap area. It only ever reads. */
export interface Swap {
  /** As blkid spells it: `swap`, or `swsuspend` when it holds a hibernation image. */
  readonly type: 'swap' | 'swsuspend';
  /** Empty when there is none. */
  readonly label: string;
  /** Empty when there is none. */
  readonly uuid: string;
  /** Bytes. */
  readonly pageSize: number;
  /** Bytes, with the header page. */
  readonly size: bigint;
  readonly state: FilesystemState;
  /**
   * What the area holds beyond its header page: nobody needs it while the guest is down. Empty unless the state is
   * `clean`.
   */
  freeSpace(): RangeSet;
}

/**
 * Opens a swap area of either byte order and any page size.
 *
 * @throws {DiskError} CORRUPT when there is none; UNSUPPORTED for the kind before Linux 2.1.117, which has no header
 */
export async function openSwap(
  device: BlockDevice,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<Swap> {
  const reader = new DeviceReader(device, signal);
  const signature = await findSignature(device, reader);
  const { magic, pageSize } = signature;
  const raw = await reader.bytes(BigInt(swapHeaderOffset), swapHeader.size);
  if (raw === undefined) throw noSwap(device, 'a device too small for one');
  const view = viewOf(raw);
  const swapped = swapHeaderSwapped.at(view).version === swapVersion;
  const header = swapped ? swapHeaderSwapped.at(view) : swapHeader.at(view);
  const place = { structure: swapHeader.name, offset: BigInt(swapHeaderOffset), device: device.name };
  const hibernated = magic !== swapMagic;
  // A hibernated area keeps its header; what is wrong with it matters less than that it is hibernated.
  if (!hibernated && header.version !== swapVersion) {
    throw DiskError.corrupt({ ...place, field: 'version', actual: header.version, expected: swapVersion });
  }
  if (!hibernated && header.last_page === 0) {
    throw DiskError.corrupt({ ...place, field: 'last_page', actual: 0, expected: 'at least 1' });
  }
  const size = (BigInt(header.last_page) + 1n) * BigInt(pageSize);
  const plain = isZero(header.padding);
  const state = stateOf(signature, size, device);
  return Object.freeze({
    type: hibernated ? 'swsuspend' : 'swap',
    label: plain ? decodeText(header.sws_volume) : '',
    uuid: plain ? formatUuid(header.sws_uuid) : '',
    pageSize,
    size,
    state,
    freeSpace: () => {
      const end = min(size, device.facts.size);
      return state.kind === 'clean'
        ? RangeSet.of([{ offset: BigInt(pageSize), length: end - BigInt(pageSize) }])
        : RangeSet.empty;
    },
  });
}

interface Signature {
  /** As it stands there; `TuxOnIce` where that took the area over. */
  readonly magic: string;
  readonly pageSize: number;
  /** Another page size has a signature as well. */
  readonly doubtful: boolean;
}

/** The signature that counts: of hibernation before any other, and of the smaller page before the larger. */
async function findSignature(device: BlockDevice, reader: DeviceReader): Promise<Signature> {
  const found: Omit<Signature, 'doubtful'>[] = [];
  for (const pageSize of swapPageSizes) {
    const raw = await reader.bytes(BigInt(pageSize - swapSignatureSize), swapSignatureSize);
    if (raw === undefined) break;
    const { magic } = swapSignature.at(viewOf(raw));
    const known = [swapMagic, oldSwapMagic, ...hibernationMagics].find((name) => magic.startsWith(name));
    if (known !== undefined) found.push({ magic: known, pageSize });
  }
  const first = await reader.bytes(0n, tuxOnIceMagic.length);
  if (first !== undefined && Buffer.compare(first, tuxOnIceMagic) === 0) {
    return { magic: 'TuxOnIce', pageSize: found[0]?.pageSize ?? swapPageSizes[0], doubtful: false };
  }
  const counts = found.find(({ magic }) => magic !== swapMagic && magic !== oldSwapMagic) ?? found[0];
  if (counts === undefined) throw noSwap(device, 'no signature at the end of the first page');
  if (counts.magic === oldSwapMagic) {
    const offset = BigInt(counts.pageSize - swapSignatureSize);
    const place = { structure: swapSignature.name, offset, device: device.name };
    throw DiskError.unsupported({ ...place, field: 'magic', actual: oldSwapMagic, expected: swapMagic });
  }
  return { ...counts, doubtful: found.length > 1 };
}

function stateOf({ magic, doubtful }: Signature, size: bigint, device: BlockDevice): FilesystemState {
  if (magic !== swapMagic) {
    return {
      kind: 'hibernated',
      reason: `it holds a hibernation image (${magic}): start the guest and shut it down properly`,
    };
  }
  if (doubtful) {
    return { kind: 'damaged', reason: 'it carries signatures of more than one page size: make it anew with mkswap' };
  }
  if (size > device.facts.size) {
    return {
      kind: 'damaged',
      reason: `it says that it has ${size} bytes, of a device of ${device.facts.size}: make it anew with mkswap`,
    };
  }
  return { kind: 'clean' };
}

function noSwap(device: BlockDevice, actual: string): DiskError {
  return DiskError.corrupt({
    structure: 'swap area',
    device: device.name,
    field: 'magic',
    actual,
    expected: swapMagic,
  });
}
