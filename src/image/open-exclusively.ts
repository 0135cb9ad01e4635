import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode } from '../error/disk-error.js';
import { findBlockUsers } from '../host/block-claim.js';
import { hostFilesystem } from '../host/filesystem-type.js';
import { findOpeners, findWriters, type Openers } from '../host/lease.js';
import { closeFile, reopen } from '../host/open-file.js';
import { judgeOpeners, type Opening, refuse, takeLocks } from './exclusion.js';

/** How often, and how many milliseconds apart, the others who have an image open are asked for again. */
const passingTries = 10;
const passingWait = 30;

/** The kernel's leases are for regular files alone. */
const noLeases = { found: 'unchecked', errno: 'EINVAL' } as const;

/**
 * Opens a regular file as the only one who writes to it or, for writing, as the only one at all.
 *
 * @param place a descriptor that stands for the file; it is closed here in any case: before Linux 5.3 any descriptor
 * counts against a lease
 * @returns a descriptor that holds the locks
 */
export async function openRegularFile(opening: Opening, place: number): Promise<number> {
  const { name, access } = opening;
  const reading = await reopen(place, 'read', name).finally(() => closeFile(place));
  // Only a descriptor that does not write itself can tell writers from readers.
  const writers = await closingOnFailure(reading, async () => {
    const found = findWriters(reading, name);
    if (found.found === 'some') await refuse(opening, [reading], 'writer');
    if (access === 'read') {
      await takeLocks(opening, reading);
      if (found.found === 'unchecked') await judgeOpeners(opening, reading, found);
    }
    return found;
  });
  if (access === 'read') return reading;
  warnOfCopyUp(opening, reading);
  const writing = await reopen(reading, 'write', name).finally(() => closeFile(reading));
  return await closingOnFailure(writing, async () => {
    await takeLocks(opening, writing);
    await judgeOpeners(
      opening,
      writing,
      writers.found === 'unchecked' ? writers : await openersThatStay(writing, name),
    );
    return writing;
  });
}

/** Who only passes by is waited for: a disktool that looks whether this image stands on another one. */
async function openersThatStay(fd: number, name: string): Promise<Openers> {
  for (let tries = passingTries; tries > 1; tries--) {
    const openers = findOpeners(fd, name);
    if (openers.found !== 'some') return openers;
    await sleep(passingWait);
  }
  return findOpeners(fd, name);
}

/** An overlay copies a file of a lower layer as soon as it is opened for writing, and nothing tells which those are. */
function warnOfCopyUp({ name, options }: Opening, fd: number): void {
  if (hostFilesystem(fd).type !== 'overlay') return;
  options.onWarning?.(
    `${name}: lies on an overlay filesystem: if it still belongs to a lower layer, all of it is copied to the upper one`,
  );
}

/**
 * Opens a block device: for writing as the only one who claims it, so neither mounted nor part of another device, in any
 * mount namespace; for reading, when nobody who could write to it claims it.
 *
 * @param place a descriptor that stands for the device; it is closed here in any case
 * @returns a descriptor that holds the locks
 */
export async function openBlockDevice(opening: Opening, place: number): Promise<number> {
  try {
    const fd = await claim(opening, place);
    return await closingOnFailure(fd, async () => {
      if (opening.access === 'read') await refuseWritableClaim(opening, place, fd);
      await takeLocks(opening, fd);
      await judgeOpeners(opening, fd, noLeases);
      return fd;
    });
  } finally {
    await closeFile(place);
  }
}

async function claim(opening: Opening, place: number): Promise<number> {
  if (opening.access === 'read') return await reopen(place, 'read', opening.name);
  try {
    return await reopen(place, 'write-exclusive', opening.name);
  } catch (error) {
    if (!hasCode(error, 'BUSY')) throw error;
    await refuse(opening, [], 'writer');
    throw error;
  }
}

async function refuseWritableClaim(opening: Opening, place: number, fd: number): Promise<void> {
  try {
    await closeFile(await reopen(place, 'read-exclusive', opening.name));
  } catch (error) {
    if (!hasCode(error, 'BUSY')) throw error;
    const { mounts, holders, readOnly } = await findBlockUsers(opening.rdev ?? 0n);
    const onlyRead =
      mounts.length > 0 && holders.length === 0 && mounts.every(({ filesystemReadOnly }) => filesystemReadOnly);
    if (!readOnly && !onlyRead) await refuse(opening, [fd], 'writer');
  }
}

async function closingOnFailure<T>(fd: number, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (error) {
    await closeFile(fd);
    throw error;
  }
}
