import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlockDevice } from '../../device/block-device.js';
import type { OperationStats } from '../../device/layer/stats.js';
import { takingAnyBytes } from '../../device/layer/unaligned.js';
import { DiskError } from '../../error/disk-error.js';
import { FuseMount } from '../../fuse/mount.js';
import type { Shown } from '../../fuse/server.js';
import type { Placed } from '../../fuse/tree.js';
import { exitWithParent } from '../../host/parent.js';
import { aborted, type TaskContext } from '../context.js';
import { LogFile, withLog } from '../serve/log-file.js';
import { type ExportOptions, type OpenExport, openExport } from '../serve/open-export.js';
import { writePid } from '../serve/pid-file.js';
import { MountPoint } from './mount-point.js';
import { putAway } from './put-away.js';

export interface ExposeOptions {
  /** The file that is to become the disk; with `all`, the folder that is to show its volumes. */
  readonly path: string;
  readonly disk: Omit<ExportOptions, 'name'>;
  /** A folder with a file for the disk and for each of its partitions and logical volumes. */
  readonly all: boolean;
  /** Other users may use it too, as far as its mode lets them. */
  readonly allowOther: boolean;
  /** Permission bits that the files do not have, as umask(2) has them. */
  readonly mask: number;
  /** A shell command: it is unmounted when that ends. */
  readonly run?: string | undefined;
  /** Written once it is mounted. */
  readonly pidFile?: string | undefined;
  /** Takes a line for each request's begin and end. */
  readonly logFile?: string | undefined;
  /** Ends when the process ends that started this one. */
  readonly exitWithParent?: boolean | undefined;
}

/** A file that is there now. */
export interface ExposedFile {
  /** Absolute. */
  readonly path: string;
  /** Bytes. */
  readonly size: bigint;
  readonly readOnly: boolean;
}

export interface ExposeReady {
  /** What is mounted, and can be unmounted: absolute. */
  readonly path: string;
  /** Of the disk. */
  readonly name: string;
  readonly files: readonly ExposedFile[];
}

export interface ExposeResult {
  /** The command's exit status; 0 without one. */
  readonly status: number;
  readonly stats: ReadonlyMap<string, Readonly<OperationStats>> | undefined;
}

/**
 * Shows a disk as a file until the signal fires, the command ends or somebody unmounts it; then makes everything durable
 * and resolves.
 *
 * @param onReady called once it is mounted
 * @throws {DiskError} what opening, mounting, starting the command or the last flush throws
 */
export async function expose(
  options: ExposeOptions,
  context: TaskContext,
  onReady: (ready: ExposeReady) => void,
): Promise<ExposeResult> {
  if (options.exitWithParent === true) exitWithParent();
  const log = options.logFile === undefined ? undefined : new LogFile(options.logFile);
  try {
    await using place = await MountPoint.take(options.path, options.all ? 'folder' : 'file', context.onWarning);
    const opened = await openExport(withLog({ ...options.disk, name: '' }, log), context);
    try {
      const status = await exposeOpened(opened, place, options, context, onReady);
      await opened.flush();
      return { status, stats: opened.stats?.stats };
    } finally {
      await opened.close();
    }
  } finally {
    log?.close();
  }
}

async function exposeOpened(
  { exported: { device, description, readOnly = false } }: OpenExport,
  { path }: MountPoint,
  options: ExposeOptions,
  context: TaskContext,
  onReady: (ready: ExposeReady) => void,
): Promise<number> {
  const { signal } = context;
  const any = takingAnyBytes(device);
  const beside = options.run === undefined ? undefined : await import('../serve/run-beside.js');
  const devices = options.all ? await volumesOf(any, context) : [{ path: '', file: any }];
  const shown: Placed<Shown>[] = devices.map(({ path, file }) => ({ path, file: { device: file, readOnly } }));
  if (signal?.aborted) throw DiskError.cancelled(signal);
  const mount = await FuseMount.make(path, shown, { ...options, source: description });
  const files = shown.map(({ path: below, file }) => ({
    path: below === '' ? path : join(path, below),
    size: file.device.facts.size,
    readOnly: file.readOnly || !file.device.facts.writable,
  }));
  try {
    if (options.pidFile !== undefined) await writePid(options.pidFile);
    onReady({ path, name: description, files });
    if (options.run === undefined || beside === undefined) {
      await Promise.race([aborted(signal), mount.ended]);
      return 0;
    }
    return await beside.runShell(options.run, { [options.all ? 'folder' : 'file']: path }, context);
  } finally {
    await putAway(mount, context);
    if (options.pidFile !== undefined) await rm(options.pidFile, { force: true });
  }
}

/** The disk and its volumes by the names that they have below /dev. */
async function volumesOf(disk: BlockDevice, { signal, onWarning }: TaskContext): Promise<Placed<BlockDevice>[]> {
  // Only here, since a file is shown without what reads partitions.
  const { openGuest, wholeDisk } = await import('../serve/guest-parts.js');
  const guest = await openGuest(disk, { signal });
  for (const warning of guest.warnings) onWarning?.(warning);
  for (const { name, reason } of guest.left) onWarning?.(`${name} is left out: ${reason}`);
  const whole = wholeDisk(guest);
  const parts = guest.volumes.filter(({ name, content }) => name !== whole.name && content.kind !== 'extended');
  return [whole, ...parts].map(({ name, device }) => ({ path: name.replace(/^\/dev\//, ''), file: device }));
}
