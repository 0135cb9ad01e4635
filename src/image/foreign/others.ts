import { min, toNumber } from '../../binary/convert.js';
import type { Layout } from '../../binary/layout.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError } from '../../error/disk-error.js';

/** What an image says of other files, by our own look at it. */
export interface Others {
  /** What it stands on, without which it reads wrong: a name, as it stands there, or what is known of it. */
  readonly parent?: string | undefined;
  /** Files that hold the disk's data, by their names in a descriptor; the image itself is text, which anybody can write. */
  readonly extents?: readonly string[] | undefined;
  /** Those of them that hold the data as they are: `end` is the bytes that each must have. */
  readonly flat?: readonly { readonly name: string; readonly end: bigint }[] | undefined;
}

/** Looks for other files in an image of one format. @throws {DiskError} CORRUPT, UNSUPPORTED */
export type FindOthers = (file: BlockDevice, options: RequestOptions) => Promise<Others>;

/**
 * A structure that an image must have.
 *
 * @throws {DiskError} CORRUPT when the file ends before
 */
export async function structureAt<L extends Pick<Layout<never>, 'name' | 'size'>>(
  file: BlockDevice,
  { name, size }: L,
  offset: bigint,
  options: RequestOptions,
): Promise<DataView> {
  const end = offset + BigInt(size);
  if (offset < 0n || end > file.facts.size) {
    throw DiskError.corrupt({
      structure: name,
      offset,
      device: file.name,
      field: 'place',
      actual: `up to byte ${end}`,
      expected: `inside the file of ${file.facts.size} bytes`,
    });
  }
  return await readView(file, offset, size, options);
}

/** Text of at most so many bytes, as far as the file reaches, up to its first NUL unless `whole`. */
export async function textAt(
  file: BlockDevice,
  offset: bigint,
  most: number,
  options: RequestOptions & { readonly whole?: boolean },
): Promise<string> {
  const { size } = file.facts;
  if (offset >= size) return '';
  const view = await readView(file, offset, toNumber(min(BigInt(most), size - offset)), options);
  const text = Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString('latin1');
  const end = options.whole === true ? -1 : text.indexOf('\0');
  return end === -1 ? text : text.slice(0, end);
}

/** Another format than was said, or a damaged image. */
export function wrongMagic(file: BlockDevice, structure: string, field: string, actual: string, expected: string) {
  return DiskError.corrupt({
    structure,
    offset: 0n,
    device: file.name,
    field,
    actual: JSON.stringify(actual),
    expected: JSON.stringify(expected),
  });
}
