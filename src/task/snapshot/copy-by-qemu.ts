import { open, readlink, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { wrapSystemError } from '../../host/errno.js';
import { identify } from '../../host/file-identity.js';
import { punchHole, seekData, seekHole } from '../../host/sparse.js';
import { BlockBackup, type GuestDisk, guestDisks } from '../../machine/block-backup.js';
import { Qmp } from '../../machine/qmp.js';
import type { TaskContext } from '../context.js';
import type { Held } from '../held.js';
import { type Attributes, readAttributes } from '../output/attributes.js';
import { NewFile } from '../output/new-file.js';
import { placeForFile } from '../output/open-output.js';
import { takeConsistently } from './consistent.js';
import type { SnapshotOptions, SnapshotResult } from './snapshot.js';

/**
 * Has the QEMU that has an image open copy it. All stands still only until the job has begun: from then on QEMU keeps
 * what is about to be overwritten, and copies that first.
 */
export async function copyByQemu(
  image: string,
  output: string,
  socket: string,
  hold: () => Promise<Held>,
  { convert, replace = false }: SnapshotOptions,
  context: TaskContext,
): Promise<SnapshotResult> {
  const { signal, onWarning = () => {}, onProgress } = context;
  const path = await placeForFile(output, replace, signal);
  const qmp = await Qmp.connect(socket, signal);
  try {
    const disk = await findDisk(qmp, image, signal);
    const format = convert ?? formatOf(image, disk);
    const { size } = disk;
    const attributes = await attributesOf(image);
    const file = await NewFile.create(path, {
      name: output,
      size: format === 'raw' ? size : 0n,
      replace,
      attributes,
      onWarning,
    });
    try {
      await using backup = await BlockBackup.prepare(qmp, { format, fd: file.fd, size }, signal);
      const held = await hold();
      const { frozenFor } = await takeConsistently(held, () => backup.start(disk), new AbortController(), context);
      await backup.finish(signal, ({ done, total }) => {
        onProgress?.({ phase: `copying ${image}`, done, total });
      });
      if (format === 'raw') await giveBackHoles(file.fd, size, output);
      await file.finish();
      return { format, size, cloned: false, frozen: held.guard.names, frozenFor };
    } catch (error) {
      await file.discard();
      throw error;
    }
  } finally {
    qmp.close();
  }
}

/** QEMU writes zeros to a raw file as room that is set aside. */
async function giveBackHoles(fd: number, size: bigint, name: string): Promise<void> {
  try {
    for (let at = 0n; at < size; ) {
      const hole = seekHole(fd, at, name) ?? size;
      at = seekData(fd, hole, name) ?? size;
      if (at > hole) await punchHole(fd, hole, at - hole, name);
    }
  } catch (error) {
    if (!hasCode(error, 'UNSUPPORTED')) throw error;
  }
}

async function attributesOf(image: string): Promise<Attributes | undefined> {
  const handle = await open(image, 'r').catch((error: unknown) => {
    throw wrapSystemError(`open ${image}`, error, { device: image });
  });
  try {
    return await readAttributes(handle.fd, image);
  } finally {
    await handle.close();
  }
}

function formatOf(image: string, { format }: GuestDisk): 'raw' | 'qcow2' {
  if (format === 'raw' || format === 'qcow2') return format;
  throw new DiskError(
    'USAGE',
    `${image}: is a ${format} image, and no copy of that format is made here: say --convert`,
    {
      device: image,
      reason: 'convert',
    },
  );
}

/** The disk whose image this file is, whatever name QEMU was given it by. */
async function findDisk(qmp: Qmp, image: string, signal: AbortSignal | undefined): Promise<GuestDisk> {
  const stats = await stat(image, { bigint: true }).catch((error: unknown) => {
    throw wrapSystemError(`open ${image}`, error, { device: image });
  });
  const wanted = identify(stats);
  const disks = await guestDisks(qmp, signal);
  // A relative name is QEMU's own: it stands where it was started.
  const own = qmp.pid === undefined ? undefined : await readlink(`/proc/${qmp.pid}/cwd`).catch(() => undefined);
  for (const disk of disks) {
    const path = resolve(own ?? '/', disk.filename);
    const there = await stat(path, { bigint: true }).catch(() => undefined);
    if (there !== undefined && identify(there).key === wanted.key) return disk;
  }
  const names = disks.map(({ filename }) => filename).join(', ');
  throw new DiskError(
    'NOT_FOUND',
    `${image}: no disk of the guest of ${qmp.name} is this image: it has ${names || 'none'}`,
    {
      device: image,
    },
  );
}
