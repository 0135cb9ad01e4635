import { DiskError, hasCode } from '../error/disk-error.js';
import { freezeUnderGuard } from '../host/freeze-guard-client.js';
import { allRecords, type FreezeRecord, findRecord, isAlive } from '../host/freeze-record.js';
import { type Mount, mountAt, readMounts } from '../host/mounts.js';
import type { TaskContext } from './context.js';
import { freezableMounts } from './freezable-mounts.js';
import { refuseNeeded, refuseOnFrozen } from './freeze-plan.js';

/** Milliseconds after which a guard undoes a freeze that was only to show that there was none. */
const probeTimeout = 5000;

export interface FreezeStatusOptions {
  /** `recorded`: those that disktool has frozen; `all`: every filesystem that {@link freeze} means by that. */
  readonly mountPoints: readonly string[] | 'all' | 'recorded';
  /** Ask also those that this program needs itself. */
  readonly force?: boolean | undefined;
}

export interface MountStatus {
  readonly mountPoint: string;
  readonly state: 'frozen' | 'thawed' | 'unknown';
  /** Who froze it, or thawed it; absent where nobody knows. */
  readonly by?: 'disktool' | 'somebody-else' | undefined;
  /** Milliseconds since 1970: when it was frozen by disktool. */
  readonly since?: number | undefined;
  /** Milliseconds since 1970: when its guard will thaw it. */
  readonly until?: number | undefined;
  /** What there is to be said: why it is not known, or why it was thawed. */
  readonly note?: string | undefined;
}

export interface FreezeStatus {
  readonly mounts: readonly MountStatus[];
}

/**
 * Says which mounts are frozen. The kernel tells only who freezes: where that succeeds, a guard undoes it at once. Nothing
 * is ever written for it, since whoever writes to a frozen filesystem hangs.
 *
 * @throws {DiskError} NOT_FOUND no mount point; CANCELLED
 */
export async function freezeStatus(
  { mountPoints, force = false }: FreezeStatusOptions,
  { signal }: TaskContext = {},
): Promise<FreezeStatus> {
  const mounts = readMounts();
  const statuses: MountStatus[] = [];
  for (const mount of chooseMounts(mountPoints, mounts)) {
    const record = findRecord(mount);
    statuses.push(describe(mount, record, await ask(mount, mounts, force, signal)));
  }
  return { mounts: statuses };
}

function chooseMounts(mountPoints: FreezeStatusOptions['mountPoints'], mounts: readonly Mount[]): Mount[] {
  if (mountPoints === 'all') return freezableMounts(mounts);
  if (mountPoints !== 'recorded') return mountPoints.map((path) => mountAt(path, mounts));
  return allRecords().flatMap(
    ({ mountId, device }) => mounts.find((mount) => mount.id === mountId && mount.device === device) ?? [],
  );
}

/** What the kernel says: whether it is frozen, or why that cannot be asked. */
type Answer = { readonly frozen: boolean } | { readonly why: string };

async function ask(
  mount: Mount,
  mounts: readonly Mount[],
  force: boolean,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  try {
    if (!force) refuseNeeded([mount], mounts);
    refuseOnFrozen(mount, mounts);
  } catch (error) {
    if (hasCode(error, 'UNSAFE', 'BUSY')) return { why: `not asked: ${error.message}` };
    throw error;
  }
  const { id, device, mountPoint } = mount;
  try {
    const guard = await freezeUnderGuard(
      { mounts: [{ id, device, mountPoint }], timeout: probeTimeout, probe: true },
      signal,
    );
    const { stuck } = await guard.thaw();
    return stuck.length === 0 ? { frozen: false } : { why: stuck.join('; ') };
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    const { code, message, facts } = error;
    if (code === 'BUSY') return { frozen: true };
    if (code === 'CANCELLED' || facts.reason === 'still-frozen') throw error;
    return { why: `cannot be asked: ${message}` };
  }
}

function describe({ mountPoint }: Mount, record: FreezeRecord | undefined, answer: Answer): MountStatus {
  const ours = record !== undefined && record.thawed === undefined;
  if ('why' in answer) return { mountPoint, state: 'unknown', ...(ours ? times(record) : {}), note: answer.why };
  if (answer.frozen) {
    return ours
      ? { mountPoint, state: 'frozen', ...times(record) }
      : { mountPoint, state: 'frozen', by: 'somebody-else' };
  }
  if (ours) return { mountPoint, state: 'thawed', by: 'somebody-else', note: 'disktool had frozen it' };
  const why = record?.thawed?.why;
  return { mountPoint, state: 'thawed', ...(why === undefined ? {} : { by: 'disktool', note: `thawed: ${why}` }) };
}

function times({ frozenAt, timeout, guard }: FreezeRecord): Pick<MountStatus, 'by' | 'since' | 'until' | 'note'> {
  const alive = isAlive(guard);
  const until = frozenAt !== undefined && timeout > 0 && alive ? frozenAt + timeout : undefined;
  const note = timeout > 0 && !alive ? 'its guard is gone: thaw it with disktool thaw' : undefined;
  return { by: 'disktool', since: frozenAt, until, note };
}
