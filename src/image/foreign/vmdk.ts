import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import {
  largestVmdkDescriptor,
  sectorSize,
  vmdkEmbeddedDescriptor,
  vmdkMagics,
  vmdkNoParent,
  vmdkSparseHeader,
} from './on-disk.js';
import { type Others, structureAt, textAt, wrongMagic } from './others.js';

/** The other files of a VMDK image: those that its descriptor names, be it embedded or the whole file. */
export async function vmdkOthers(file: BlockDevice, options: RequestOptions): Promise<Others> {
  const head = await textAt(file, 0n, sectorSize, { ...options, whole: true });
  if (head.startsWith(vmdkMagics.esx)) throw part(file, 'an extent of an ESX disk');
  if (!head.startsWith(vmdkMagics.sparse)) {
    const text = await textAt(file, 0n, largestVmdkDescriptor, { ...options, whole: true });
    // A descriptor may begin with other comments, which nobody but QEMU detects.
    if (!/^\s*version\s*=/m.test(text)) throw wrongMagic(file, 'VMDK', 'start', head.slice(0, 4), vmdkMagics.sparse);
    return { parent: parentIn(text), ...extentsIn(text) };
  }
  const header = vmdkSparseHeader.at(await structureAt(file, vmdkSparseHeader, 0n, options));
  const { capacity, descriptorOffset, descriptorSize } = header;
  if (descriptorOffset === 0n) throw part(file, 'an extent of a disk in several files');
  const offset = descriptorOffset * BigInt(sectorSize);
  const length = Math.max(vmdkEmbeddedDescriptor, Math.min(Number(descriptorSize) * sectorSize, largestVmdkDescriptor));
  const text = await textAt(file, offset, length, { ...options, whole: true });
  // QEMU leaves room for a descriptor in each of several extents.
  if (!/^\s*CID\s*=/im.test(text)) throw part(file, 'an extent of a disk in several files');
  // Without a capacity of its own the header only holds the descriptor; else the one extent is the file itself.
  return { parent: parentIn(text), ...(capacity === 0n ? extentsIn(text) : {}) };
}

function part({ name }: BlockDevice, what: string): DiskError {
  return new DiskError('UNSUPPORTED', `${name}: is ${what}: open the descriptor that names it`, {
    device: name,
    reason: 'extent',
  });
}

/** Any mention counts: QEMU looks for the first one, whatever stands around it. */
function parentIn(text: string): string | undefined {
  const hint = /parentFileNameHint.{2}([^"]*)/s.exec(text)?.[1];
  if (hint !== undefined) return hint;
  const cid = /^\s*parentCID\s*=\s*([0-9a-f]+)/im.exec(text)?.[1];
  return cid === undefined || cid.toLowerCase() === vmdkNoParent ? undefined : `the image with CID ${cid}`;
}

function extentsIn(text: string): Pick<Others, 'extents' | 'flat'> {
  const lines = text.split('\n');
  // All that stands in quotes and is not the value of a setting: more than QEMU takes for an extent, never less.
  const extents = lines.flatMap((line) => {
    const [before, ...rest] = line.split('"');
    return before?.includes('=') === true || rest[0] === undefined ? [] : [rest[0]];
  });
  const flat = lines.flatMap((line) => {
    const [, sectors, name, offset = '0'] = /^\s*RW\s+(\d+)\s+\w*FLAT\s+"([^"]*)"\s*(\d*)/.exec(line) ?? [];
    if (sectors === undefined || name === undefined) return [];
    return [{ name, end: (BigInt(sectors) + BigInt(offset)) * BigInt(sectorSize) }];
  });
  return { extents, flat };
}
