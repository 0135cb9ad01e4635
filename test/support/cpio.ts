/** What the archive holds: a file where nothing else is said. */
export interface CpioEntry {
  readonly name: string;
  readonly bytes?: Uint8Array;
  readonly kind?: 'file' | 'directory' | 'character-device';
  /** Permission bits: 0755 if not said. */
  readonly mode?: number;
  /** Major and minor number of a device. */
  readonly device?: readonly [major: number, minor: number];
}

const types = { file: 0o100000, directory: 0o040000, 'character-device': 0o020000 } as const;

/**
 * A cpio archive in the "newc" format, as the kernel unpacks it for an initramfs: device nodes without being root.
 * Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
 */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  [...entries, { name: 'TRAILER!!!', mode: 0 }].forEach((entry, i) => {
    const { name, bytes = new Uint8Array(), kind = 'file', mode = 0o755, device = [0, 0] }: CpioEntry = entry;
    // c_ino, c_mode, c_uid, c_gid, c_nlink, c_mtime, c_filesize, c_maj, c_min, c_rmaj, c_rmin, c_namesize, c_chksum
    const fields = [i + 1, types[kind] | mode, 0, 0, 1, 0, bytes.length, 0, 0, ...device, name.length + 1, 0];
    const head = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
    parts.push(padded(Buffer.from(head, 'latin1')), padded(bytes));
  });
  return Buffer.concat(parts);
}

/** To a multiple of 4 bytes, which head and content each begin at. */
function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes], Math.ceil(bytes.length / 4) * 4);
}
