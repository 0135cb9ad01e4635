import { DiskError } from '../error/disk-error.js';
import { thawMount } from '../host/freeze.js';
import { allRecords, type FreezeRecord, findRecord, recordFolder, removeRecord } from '../host/freeze-record.js';
import { type Mount, mountAt, readMounts } from '../host/mounts.js';
import type { TaskContext } from './context.js';
import { inOrder } from './freeze-plan.js';
import { notOurs, thawedBefore, throwAll, wakeGuard } from './thaw-reasons.js';

export interface ThawOptions {
  /** `recorded`: every one that disktool has frozen, of which there may be none. */
  readonly mountPoints: readonly string[] | 'recorded';
  /** Also what somebody else has frozen. */
  readonly force?: boolean | undefined;
}

export interface ThawResult {
  /** Mount points, in the order in which they were thawed. */
  readonly thawed: readonly string[];
}

/**
 * Thaws what was frozen. Each is tried, whatever becomes of the others.
 *
 * @throws {DiskError} NOT_FOUND no mount point; UNSAFE, with the reason `thawed`, when it had been thawed before, and
 * `not-ours` when disktool has not frozen it; IO
 */
export async function thaw(
  { mountPoints, force = false }: ThawOptions,
  { onWarning }: TaskContext = {},
): Promise<ThawResult> {
  const mounts = readMounts();
  const failures: unknown[] = [];
  const named = mountPoints === 'recorded' ? recorded(mounts) : findMounts(mountPoints, mounts, failures);
  const thawed: string[] = [];
  const records: FreezeRecord[] = [];
  // What lies on another comes after it: to thaw is to write.
  for (const mount of inOrder(named, mounts).toReversed()) {
    const record = findRecord(mount);
    // Another thaw, or its guard, came first.
    if (mountPoints === 'recorded' && record === undefined) continue;
    try {
      await thawOne(mount, record, force);
      thawed.push(mount.mountPoint);
    } catch (error) {
      failures.push(error);
    }
    if (record !== undefined && findRecord(mount) === undefined) records.push(record);
  }
  await standDown(records);
  for (const { mountId: id, device, mountPoint } of records) {
    const complaints = findRecord({ id, device, mountPoint })?.thawed?.complaints;
    if (complaints === undefined) continue;
    for (const complaint of complaints) onWarning?.(complaint);
    removeRecord(device);
  }
  throwAll(failures);
  return { thawed };
}

function findMounts(paths: readonly string[], mounts: readonly Mount[], failures: unknown[]): Mount[] {
  const found = new Map<string, Mount>();
  for (const path of paths) {
    try {
      const mount = mountAt(path, mounts);
      if (!found.has(mount.device)) found.set(mount.device, mount);
    } catch (error) {
      failures.push(error);
    }
  }
  return [...found.values()];
}

function recorded(mounts: readonly Mount[]): Mount[] {
  return allRecords().flatMap(
    ({ mountId, device }) => mounts.find((mount) => mount.id === mountId && mount.device === device) ?? [],
  );
}

async function thawOne(mount: Mount, record: FreezeRecord | undefined, force: boolean): Promise<void> {
  const { device, mountPoint } = mount;
  const thawed = record?.thawed;
  // Where no record can be kept, nobody knows who has frozen it.
  if (!force && recordFolder() !== undefined) {
    if (record === undefined) throw notOurs(mountPoint, 'freeze --status');
    if (thawed !== undefined) {
      removeRecord(device);
      throw thawedBefore(mountPoint, thawed);
    }
  }
  const wasFrozen = await thawMount(mountPoint);
  removeRecord(device);
  if (wasFrozen) return;
  if (record !== undefined) throw thawedBefore(mountPoint, thawed);
  throw new DiskError('UNSAFE', `thaw ${mountPoint}: not frozen`, {
    device: mountPoint,
    reason: 'thawed',
    errno: 'EINVAL',
  });
}

/** Tells guards that their work has been done, and waits until they are gone: all but those that hold other mounts. */
async function standDown(records: readonly FreezeRecord[]): Promise<void> {
  const others = allRecords().filter(({ thawed }) => thawed === undefined);
  const done = records.filter(({ guard }) => !others.some((other) => other.guard.pid === guard.pid));
  const guards = new Map(done.map((record) => [record.guard.pid, record]));
  for (const { guard, hooks = false } of guards.values()) await wakeGuard(guard, hooks);
}
