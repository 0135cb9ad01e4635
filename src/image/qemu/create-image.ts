import { symlink } from 'node:fs/promises';
import { basename } from 'node:path';
import { DiskError } from '../../error/disk-error.js';
import { wrapSystemError } from '../../host/errno.js';
import { PrivateFolder } from '../../host/private-folder.js';
import { requireProgram, runProgram } from '../../host/process.js';
import type { CreatedFormat } from '../image-format.js';
import { procPath } from './block-node.js';
import { tidyComplaint } from './complaint.js';

/** What keeps QEMU from changing the size: VHD counts in cylinders otherwise. */
const options: Partial<Record<CreatedFormat, readonly string[]>> = { vpc: ['-o', 'force_size=on'] };

/** What would end the name in the text of a VMDK descriptor, and go on as settings of it: the name of a parent, say. */
const breaksLine = /["\p{Cc}]/u;

export interface CreateOptions {
  readonly format: CreatedFormat;
  /** Bytes of the disk: whole sectors of 512. */
  readonly size: bigint;
  /** What the image will be called: a VMDK image has its own name in it, unless that would break its descriptor. */
  readonly path: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes an empty image of an empty file.
 *
 * @param fd of the file, which need have no name
 * @throws {DiskError} NOT_FOUND without qemu-img; IO in QEMU's words; CANCELLED
 */
export async function createByQemu(fd: number, { format, size, path, signal }: CreateOptions): Promise<void> {
  const program = requireProgram(
    'qemu-img',
    `a ${format} image is made by QEMU: install qemu-utils (qemu-img on Fedora)`,
  );
  await using folder = await PrivateFolder.create();
  const own = basename(path);
  const link = folder.path(breaksLine.test(own) ? `disk.${format}` : own);
  await symlink(procPath(fd), link).catch((error: unknown) => {
    throw wrapSystemError(`link ${link}`, error);
  });
  const args = ['create', '-q', '-f', format, ...(options[format] ?? []), link, String(size)];
  const { status, stderr } = await runProgram(program, args, { signal });
  if (status === 0) return;
  const said = tidyComplaint(stderr.replaceAll(link, path)).join('; ');
  throw new DiskError('IO', `${path}: QEMU cannot make a ${format} image of ${size} bytes (${said})`, {
    device: path,
    reason: 'qemu',
  });
}
