import { fstatSync } from 'node:fs';
import type { BlockDevice } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { ForeignFormat } from '../image-format.js';

/** A file as QEMU is to open it: QAPI BlockdevOptionsFile. */
export interface FileNode {
  readonly driver: 'file' | 'host_device';
  readonly filename: string;
}

/** An image over a file. Nothing is left to be guessed: QAPI BlockdevOptionsGenericFormat, …GenericCOWFormat. */
export interface FormatNode {
  readonly driver: string;
  readonly file: FileNode;
  /** Of the formats that have one: null keeps QEMU from opening what the image names. */
  readonly backing?: FormatNode | null;
  readonly 'force-share'?: true;
  readonly [option: string]: unknown;
}

/** Formats whose images may stand on others. */
const withBacking: readonly ForeignFormat[] = ['vmdk', 'qed', 'qcow'];

/** An image that stands on no other, which QEMU is told where it would look for one. */
export function standalone(driver: ForeignFormat, file: FileNode): FormatNode {
  return { driver, file, ...(withBacking.includes(driver) ? { backing: null } : {}) };
}

/**
 * The very file that we have open, whatever its path leads to by now. QEMU opens it anew, with locks of its own.
 *
 * @throws {DiskError} UNSUPPORTED for what is not a file or block device of this machine
 */
export function fileNode(path: string, { facts: { hostFile } }: BlockDevice): FileNode {
  if (hostFile === undefined) {
    throw new DiskError(
      'UNSUPPORTED',
      `${path}: only QEMU could open this format, and only from a file: copy it first`,
      {
        device: path,
        reason: 'not-a-file',
      },
    );
  }
  const { fd } = hostFile;
  const driver = fstatSync(fd).isBlockDevice() ? 'host_device' : 'file';
  return { driver, filename: procPath(fd) };
}

/** A path of a file that we have open, for a program that we start. */
export function procPath(fd: number): string {
  return `/proc/${process.pid}/fd/${fd}`;
}
