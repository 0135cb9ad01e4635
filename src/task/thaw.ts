import { DiskError } from '../error/disk-error.js';
import { thawMount } from '../host/freeze.js';
import {
  allRecords,
  type FreezeRecord,
  findRecord,
  isAlive,
  recordFolder,
  removeRecord,
  type Thawed,
} from '../host/freeze-record.js';
import { type Mount, mountAt, readMounts } from '../host/mounts.js';
import type { TaskContext } from './context.js';
import { inOrder } from './freeze-plan.js';

export interface ThawOptions {
  /** `all`: every one that disktool has frozen. */
  readonly mountPoints: readonly string[] | 'all';
  /** Also what somebody else has frozen. */
  readonly force?: boolean | undefined;
}

export interface ThawResult {
  /** Mount points, in the order in which they were thawed. */
  readonly thawed: readonly string[];
}

const reasons: Readonly<Record<Thawed['why'], string>> = {
  timeout: 'by its timeout',
  abandoned: 'when the disktool that froze it was killed',
  signal: 'when its guard was told to end',
  asked: 'by another thaw',
};

/** Milliseconds for which a guard is given to end; and where it calls hooks, which have a bound of their own. */
const patience = 2000;
const patienceWithHooks = 3_600_000;

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
  const named = mountPoints === 'all' ? recorded(mounts) : findMounts(mountPoints, mounts, failures);
  const thawed: string[] = [];
  const records: FreezeRecord[] = [];
  // What lies on another comes after it: to thaw is to write.
  for (const mount of inOrder(named, mounts).toReversed()) {
    const record = findRecord(mount);
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

/** One failure as it is; of several the code and the facts of the first, and the words of all. */
export function throwAll(failures: readonly unknown[]): void {
  const [first, ...others] = failures;
  if (first === undefined) return;
  if (others.length === 0 || !(first instanceof DiskError)) throw first;
  const messages = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure)));
  throw new DiskError(first.code, messages.join('; '), { ...first.facts, cause: first });
}

/** What there is a record of. */
function recorded(mounts: readonly Mount[]): Mount[] {
  const found = allRecords().flatMap(
    ({ mountId, device }) => mounts.find((mount) => mount.id === mountId && mount.device === device) ?? [],
  );
  if (found.length > 0) return found;
  throw new DiskError('UNSAFE', 'nothing is frozen by disktool, or it has been thawed by another thaw', {
    reason: 'thawed',
  });
}

async function thawOne(mount: Mount, record: FreezeRecord | undefined, force: boolean): Promise<void> {
  const ours = record !== undefined && record.thawed === undefined;
  // Where no record can be kept, nobody knows.
  if (!ours && !force && recordFolder() !== undefined) throw notOurs(mount, record);
  const wasFrozen = await thawMount(mount.mountPoint);
  removeRecord(mount.device);
  if (!wasFrozen) throw thawedBefore(mount, record);
}

function notOurs(mount: Mount, record: FreezeRecord | undefined): DiskError {
  if (record !== undefined) {
    removeRecord(mount.device);
    return thawedBefore(mount, record);
  }
  return new DiskError(
    'UNSAFE',
    `thaw ${mount.mountPoint}: disktool has not frozen it: whoever else has may rely on it (freeze --status tells whether it is); --force thaws it all the same`,
    { device: mount.mountPoint, reason: 'not-ours' },
  );
}

function thawedBefore({ mountPoint }: Mount, record: FreezeRecord | undefined): DiskError {
  const { thawed } = record ?? {};
  const ago = thawed === undefined ? '' : ` ${Math.max(0, Math.round((Date.now() - thawed.at) / 1000))} s ago`;
  const by = thawed === undefined ? 'by somebody else' : reasons[thawed.why];
  const what =
    record === undefined ? 'not frozen' : `it was thawed ${by}${ago}, so a snapshot taken since is not consistent`;
  return new DiskError('UNSAFE', `thaw ${mountPoint}: ${what}`, {
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
  for (const { guard, hooks = false } of guards.values()) {
    const deadline = performance.now() + (hooks ? patienceWithHooks : patience);
    if (isAlive(guard)) process.kill(guard.pid, 'SIGUSR2');
    while (isAlive(guard) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
