/** Where in which structure something is wrong. */
export interface Place {
  /** The device or file, by its full name: `slice[1048576+…] of a.img`. */
  device?: string | undefined;
  /** The structure's name in its own documentation: `ext4 superblock`. */
  structure?: string | undefined;
  /** Bytes from the start of `device`. */
  offset?: bigint | undefined;
  /** The field's name in its own documentation: `s_log_block_size`. */
  field?: string | undefined;
  actual?: string | number | bigint | undefined;
  expected?: string | number | bigint | undefined;
}

/**
 * Composes the message of everything that is wrong on a disk:
 * *structure* at byte *0x…* of *device*: *field* is *actual*, expected *expected*.
 * Parts that are not known are left out.
 */
export function describe({ structure, offset, device, field, actual, expected }: Place): string {
  const where = [
    structure ?? (field === undefined ? 'data' : undefined),
    offset === undefined ? undefined : `at byte ${hex(offset)}`,
    device === undefined ? undefined : `of ${device}`,
  ]
    .filter((part) => part !== undefined)
    .join(' ');
  const found = actual === undefined ? 'is wrong' : `is ${actual}`;
  const what = [field, found].filter((part) => part !== undefined).join(' ');
  const wanted = expected === undefined ? '' : `, expected ${expected}`;
  return `${where === '' ? '' : `${where}: `}${what}${wanted}`;
}

/** Offsets and magic numbers are written in hexadecimal, sizes in decimal. */
export function hex(value: bigint | number): string {
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}
