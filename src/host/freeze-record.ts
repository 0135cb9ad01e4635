import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Mount } from './mounts.js';
import { processStat } from './process-table.js';

/** Why a guard thawed of its own accord. */
export type ThawReason =
  /** Its time was up. */
  | 'timeout'
  /** Whoever had it freeze died without a word. */
  | 'abandoned'
  /** It was told to end. */
  | 'signal';

export interface Thawed {
  readonly why: ThawReason | 'asked';
  readonly at: number;
  readonly complaints?: readonly string[] | undefined;
}

/** What is known of a freeze, kept under /run where `thaw` finds it: one file a filesystem. */
export interface FreezeRecord {
  /** `major:minor` of the filesystem. */
  readonly device: string;
  readonly mountPoint: string;
  readonly mountId: number;
  /** The process that will thaw it, and when that was started, in the kernel's clock ticks: pids are used again. */
  readonly guard: { readonly pid: number; readonly startTime: string };
  /** Milliseconds; 0: never. */
  readonly timeout: number;
  /** When it was frozen: milliseconds since 1970. */
  readonly frozenAt?: number | undefined;
  /** Whether the guard calls hooks after the thaw, which takes longer than a moment. */
  readonly hooks?: boolean | undefined;
  /** Set once it is thawed: why, and when, in milliseconds since 1970; and what went wrong with the hooks after it. */
  readonly thawed?: Thawed | undefined;
}

/** /run/disktool for root, else a folder of the user's own; undefined when there is neither. */
export function recordFolder(): string | undefined {
  if (process.getuid?.() === 0) return '/run/disktool';
  const { XDG_RUNTIME_DIR: own } = process.env;
  return own?.startsWith('/') === true ? join(own, 'disktool') : undefined;
}

const fileName = /^frozen-\d+-\d+\.json$/;

function recordPath(device: string): string | undefined {
  const folder = recordFolder();
  return folder === undefined ? undefined : join(folder, `frozen-${device.replace(':', '-')}.json`);
}

/** Writes a record whole, in place of an older one. */
export function writeRecord(record: FreezeRecord): void {
  const path = recordPath(record.device);
  const folder = recordFolder();
  if (path === undefined || folder === undefined) return;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  renameSync(fresh, path);
}

export function removeRecord(device: string): void {
  const path = recordPath(device);
  if (path !== undefined) rmSync(path, { force: true });
}

export function hasRecord(device: string): boolean {
  const path = recordPath(device);
  return path !== undefined && existsSync(path);
}

/** The record of a mount, or undefined. One of an earlier mount of the same device is not it. */
export function findRecord(mount: Pick<Mount, 'id' | 'device' | 'mountPoint'>): FreezeRecord | undefined {
  const path = recordPath(mount.device);
  const record = path === undefined ? undefined : readRecord(path);
  return record?.mountId === mount.id && record.mountPoint === mount.mountPoint ? record : undefined;
}

/** All the records that there are, of whatever is mounted now and of what was. */
export function allRecords(): FreezeRecord[] {
  const folder = recordFolder();
  if (folder === undefined || !existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => fileName.test(name))
    .flatMap((name) => readRecord(join(folder, name)) ?? []);
}

/** Removes the records of what is mounted no more. */
export function pruneRecords(mounts: readonly Mount[]): void {
  const folder = recordFolder();
  if (folder === undefined || !existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    if (!fileName.test(name)) continue;
    const record = readRecord(join(folder, name));
    const guarded = record !== undefined && isAlive(record.guard);
    const mounted = mounts.some(({ id, device }) => id === record?.mountId && device === record.device);
    if (!guarded && !mounted) rmSync(join(folder, name), { force: true });
  }
}

function readRecord(path: string): FreezeRecord | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is FreezeRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { device, mountPoint, mountId, guard, timeout, thawed } = value as Partial<Record<keyof FreezeRecord, unknown>>;
  return (
    typeof device === 'string' &&
    typeof mountPoint === 'string' &&
    typeof mountId === 'number' &&
    typeof timeout === 'number' &&
    isRecordGuard(guard) &&
    (thawed === undefined || isThawed(thawed))
  );
}

export function isRecordGuard(value: unknown): value is FreezeRecord['guard'] {
  return (
    typeof value === 'object' &&
    value !== null &&
    'pid' in value &&
    typeof value.pid === 'number' &&
    value.pid > 1 &&
    'startTime' in value &&
    typeof value.startTime === 'string'
  );
}

export function isThawed(value: unknown): value is Thawed {
  return (
    typeof value === 'object' &&
    value !== null &&
    'at' in value &&
    typeof value.at === 'number' &&
    'why' in value &&
    typeof value.why === 'string'
  );
}

/** When a process was started, in clock ticks since boot. Undefined: it is gone. */
export function startTimeOf(pid: number): string | undefined {
  return processStat(pid)?.startTime;
}

export function isAlive({ pid, startTime }: FreezeRecord['guard']): boolean {
  return startTimeOf(pid) === startTime;
}
