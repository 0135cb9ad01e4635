import { DiskError } from '../error/disk-error.js';
import { thawMount } from '../host/freeze.js';
import { type FreezeRecord, findRecord, isAlive, removeRecord, type ThawReason } from '../host/freeze-record.js';
import { type Mount, mountAt, readMounts } from '../host/mounts.js';

export interface ThawOptions {
  readonly mountPoints: readonly string[];
}

export interface ThawResult {
  /** Mount points, in the order in which they were thawed. */
  readonly thawed: readonly string[];
}

const reasons: Readonly<Record<ThawReason, string>> = {
  timeout: 'by its timeout',
  abandoned: 'when the disktool that froze it was killed',
  signal: 'when its guard was told to end',
};

/** Milliseconds for which a guard is given to end. */
const patience = 2000;

/**
 * Thaws what was frozen. Each is tried, whatever becomes of the others.
 *
 * @throws {DiskError} NOT_FOUND no mount point; UNSAFE, with the reason `thawed`, when it had been thawed before; IO
 */
export async function thaw({ mountPoints }: ThawOptions): Promise<ThawResult> {
  const mounts = readMounts();
  const thawed: string[] = [];
  const failures: unknown[] = [];
  for (const path of mountPoints) {
    try {
      const mount = mountAt(path, mounts);
      await thawOne(mount);
      thawed.push(mount.mountPoint);
    } catch (error) {
      failures.push(error);
    }
  }
  const [first, ...others] = failures;
  if (first === undefined) return { thawed };
  if (others.length === 0 || !(first instanceof DiskError)) throw first;
  const messages = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure)));
  throw new DiskError(first.code, messages.join('; '), { ...first.facts, cause: first });
}

async function thawOne(mount: Mount): Promise<void> {
  const wasFrozen = await thawMount(mount.mountPoint);
  const record = findRecord(mount);
  removeRecord(mount.device);
  if (record !== undefined) await standDown(record.guard);
  if (wasFrozen) return;
  throw new DiskError('UNSAFE', `thaw ${mount.mountPoint}: ${whatHappened(record)}`, {
    device: mount.mountPoint,
    reason: 'thawed',
    errno: 'EINVAL',
  });
}

function whatHappened(record: FreezeRecord | undefined): string {
  if (record === undefined) return 'not frozen';
  const { thawed } = record;
  const when =
    thawed === undefined
      ? 'by somebody else'
      : `${reasons[thawed.why]} ${Math.max(0, Math.round((Date.now() - thawed.at) / 1000))} s ago`;
  return `it was thawed ${when}, so a snapshot taken since is not consistent`;
}

/** Tells a guard that its work has been done, and waits until it is gone. */
async function standDown(guard: FreezeRecord['guard']): Promise<void> {
  const deadline = performance.now() + patience;
  if (isAlive(guard)) process.kill(guard.pid, 'SIGUSR2');
  while (isAlive(guard) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
