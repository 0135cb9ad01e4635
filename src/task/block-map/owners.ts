import { min } from '../../binary/convert.js';
import { RangeSet } from '../../binary/range-set.js';
import { DiskError } from '../../error/disk-error.js';
import type { FileExtent, FileObject } from '../../filesystem/file.js';
import type { SourceOptions } from '../../image/open-image.js';
import type { TaskContext } from '../context.js';
import { withGuest } from './block-map.js';
import type { LineKind } from './map-lines.js';
import { type NotSurveyed, type Owned, surveyGuest } from './survey.js';
import { type Unowned, unownedPlaces } from './unowned.js';

/** Somebody who has a byte. */
export interface Owner {
  readonly kind: LineKind;
  /** As the guest names it. */
  readonly device: string;
  /** Of the byte, from the start of the device. */
  readonly deviceOffset: bigint;
  /** Which metadata it is, in a word or two: `superblock`, `inode`. */
  readonly metadata?: string | undefined;
  /** Of a file or directory, and of metadata of one; any bytes but NUL. */
  readonly path?: Buffer | undefined;
  /** Of the byte in the file, where it is content of one. */
  readonly fileOffset?: bigint | undefined;
  /** Why the byte is not read from the file: `unwritten`, a part that reads as zeros; `past-end`, behind its size. */
  readonly unread?: 'unwritten' | 'past-end' | undefined;
}

/** Who has a byte of a disk. */
export interface OwnersOfByte {
  /** Bytes from the start of the disk. */
  readonly offset: bigint;
  /** From the whole disk inwards; a file by each of its names. */
  readonly owners: readonly Owner[];
  /** When the last of the owners is no more than a volume. */
  readonly unowned?: Pick<Unowned, 'kind' | 'reason'> | undefined;
}

export interface OwnersReport {
  /** In the order that was asked for. */
  readonly bytes: readonly OwnersOfByte[];
  /** What may have an owner of these bytes and was not mapped. */
  readonly leftOut: readonly NotSurveyed[];
}

/**
 * Finds out who has bytes of a disk. Looks through every file of the filesystems that have them.
 *
 * @param offsets in bytes from the start of the disk
 * @throws {DiskError} as openImage and openGuest; USAGE for an offset past the end
 */
export async function ownersOf(
  image: string,
  offsets: readonly bigint[],
  source: SourceOptions,
  context: TaskContext,
): Promise<OwnersReport> {
  return await withGuest(image, source, context, async (guest) => {
    const { size } = guest.disk.facts;
    const past = offsets.find((offset) => offset < 0n || offset >= size);
    if (past !== undefined) {
      throw new DiskError('USAGE', `byte ${past} is past the end of ${image}, which has ${size} bytes`, {
        device: image,
      });
    }
    const asked = RangeSet.of(offsets.map((offset) => ({ offset, length: 1n })));
    const found = new Map<bigint, Owner[]>(offsets.map((offset) => [offset, []]));
    const take = (owned: Owned) => {
      const { offset, length, volume } = owned;
      let at = offset;
      for (const run of volume.placement.locate(offset, length)) {
        for (const hit of asked.within(run.offset, run.length)) {
          for (let byte = hit.offset; byte < hit.offset + hit.length; byte++) {
            found.get(byte)?.push(ownerOf(owned, at + byte - run.offset));
          }
        }
        at += run.length;
      }
    };
    const options = { free: true, inside: true, within: asked };
    const { leftOut } = await surveyGuest(guest, options, take, context);
    const places = [...unownedPlaces(guest, leftOut)];
    const bytes = offsets.map((offset): OwnersOfByte => {
      const owners = found.get(offset) ?? [];
      const last = owners.at(-1)?.kind ?? 'v';
      const place = last === 'v' || last === 'p' ? places.find((part) => part.bytes.has(offset)) : undefined;
      return { offset, owners, unowned: place && { kind: place.kind, reason: place.reason } };
    });
    return { bytes, leftOut };
  });
}

/** @param deviceOffset of the byte, from the start of the volume */
function ownerOf({ kind, volume, metadata, file, extent, offset }: Owned, deviceOffset: bigint): Owner {
  const owner = { kind, device: volume.name, deviceOffset, metadata, path: file?.path };
  if (extent === undefined || file === undefined) return owner;
  // Of what is compressed, nobody can say which byte of the file a byte of the disk is.
  const fileOffset = extent.fileLength === extent.length ? extent.fileOffset + deviceOffset - offset : undefined;
  const read = readLength(file.object, extent);
  const unread = deviceOffset - offset < read ? undefined : extent.unwritten ? 'unwritten' : 'past-end';
  return { ...owner, fileOffset, unread };
}

/** How many bytes of an extent, from its start, are read from its file. */
export function readLength({ type, attributes }: FileObject, extent: FileExtent): bigint {
  const { length, fileLength, fileOffset, unwritten } = extent;
  if (unwritten) return 0n;
  // A directory is read in whole blocks; what is compressed is read as a whole.
  if (type === 'directory' || fileLength !== length) return length;
  const left = attributes.size - fileOffset;
  return left <= 0n ? 0n : min(left, length);
}
