import { readlinkSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { DiskError } from '../error/disk-error.js';
import { fsfreezeProgram } from '../host/freeze.js';
import { findRecord, isAlive, recordFolder } from '../host/freeze-record.js';
import { type Mount, mountAt, mountOf, readMounts, standsOn } from '../host/mounts.js';
import { freezableMounts } from './freezable-mounts.js';

/**
 * Decides what is frozen, and in which order: what lies inside another, or on a loop device whose file the other holds,
 * goes before it, for its own freeze still writes there.
 *
 * @param paths mount points as the user names them
 * @param force also what this program needs itself
 * @returns one mount a filesystem
 * @throws {DiskError} NOT_FOUND no mount point; UNSAFE needed by this program; BUSY
 */
export function planFreeze(paths: readonly string[], force: boolean): Mount[] {
  const mounts = readMounts();
  return plan(
    paths.map((path) => mountAt(path, mounts)),
    mounts,
    force,
  );
}

/**
 * The same for every filesystem that can be frozen, but the root and what that stands on.
 *
 * @throws {DiskError} NOT_FOUND there is none; UNSAFE needed by this program; BUSY
 */
export function planAll(force: boolean, mounts: readonly Mount[] = readMounts()): Mount[] {
  const wanted = freezableMounts(mounts);
  if (wanted.length === 0) {
    throw new DiskError('NOT_FOUND', 'no filesystem is mounted that could be frozen, besides the root');
  }
  return plan(wanted, mounts, force);
}

function plan(named: readonly Mount[], mounts: readonly Mount[], force: boolean): Mount[] {
  const wanted = new Map<string, Mount>();
  for (const mount of named) if (!wanted.has(mount.device)) wanted.set(mount.device, mount);
  if (!force) refuseNeeded([...wanted.values()], mounts);
  for (const mount of wanted.values()) refuseOnFrozen(mount, mounts);
  return inOrder([...wanted.values()], mounts);
}

/** @throws {DiskError} UNSAFE when this program needs one of them itself */
export function refuseNeeded(wanted: readonly Mount[], mounts: readonly Mount[]): void {
  for (const [what, path] of neededPaths()) {
    const holder = mountOf(existing(path), mounts);
    if (holder === undefined) continue;
    for (const { device } of standsOn(holder, mounts)) {
      const mount = wanted.find((candidate) => candidate.device === device);
      if (mount === undefined) continue;
      throw new DiskError(
        'UNSAFE',
        `freeze ${mount.mountPoint}: it holds ${what}, so this program might hang with it: --force freezes it all the same`,
        { device: mount.mountPoint, reason: 'needed' },
      );
    }
  }
}

/** What this program, and whoever watches it, must be able to reach while something is frozen. */
function neededPaths(): [what: string, path: string][] {
  const folder = recordFolder();
  const needed: [string, string][] = [
    ['the root of the system', '/'],
    ["disktool's own code", import.meta.dirname],
    ["Node's own code", process.execPath],
    ['fsfreeze', fsfreezeProgram()],
    ['the working directory', process.cwd()],
  ];
  if (folder !== undefined) needed.push(['the record of what is frozen', folder]);
  for (const [name, fd] of [
    ['standard output', 1],
    ['standard error', 2],
  ] as const) {
    const path = fileBehind(fd);
    if (path !== undefined) needed.push([`the file of ${name}`, path]);
  }
  return needed;
}

function fileBehind(fd: number): string | undefined {
  try {
    const path = readlinkSync(`/proc/self/fd/${fd}`);
    return path.startsWith('/') ? path : undefined;
  } catch {
    return undefined;
  }
}

/** The path without symbolic links, or that of its nearest folder that is there. */
function existing(path: string): string {
  for (let at = path; ; at = dirname(at)) {
    try {
      return realpathSync(at);
    } catch {
      if (at === '/') return at;
    }
  }
}

/**
 * To freeze a filesystem is to write it out: that would wait for a frozen one below it.
 *
 * @throws {DiskError} BUSY
 */
export function refuseOnFrozen(mount: Mount, mounts: readonly Mount[]): void {
  for (const below of standsOn(mount, mounts).slice(1)) {
    const record = findRecord(below);
    if (record === undefined || record.thawed !== undefined || !isAlive(record.guard)) continue;
    throw new DiskError('BUSY', `freeze ${mount.mountPoint}: its image lies on ${below.mountPoint}, which is frozen`, {
      device: mount.mountPoint,
    });
  }
}

/** Inner ones first. */
export function inOrder(wanted: readonly Mount[], mounts: readonly Mount[]): Mount[] {
  const below = new Map(wanted.map((mount) => [mount.id, devicesBelow(mount, mounts)]));
  const ordered: Mount[] = [];
  for (let rest = [...wanted]; rest.length > 0; ) {
    const next =
      rest.find((mount) => !rest.some((other) => other !== mount && below.get(other.id)?.has(mount.device))) ?? rest[0];
    if (next === undefined) break;
    ordered.push(next);
    rest = rest.filter((mount) => mount !== next);
  }
  return ordered;
}

/** The filesystems that hold this one's mount point or its image, and so on down. */
function devicesBelow(mount: Mount, mounts: readonly Mount[]): Set<string> {
  const seen = new Set<number>();
  const queue = [mount];
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    if (seen.has(at.id)) continue;
    seen.add(at.id);
    const { parent } = at;
    queue.push(...mounts.filter(({ id }) => id === parent), ...standsOn(at, mounts).slice(1));
  }
  const devices = new Set(mounts.filter(({ id }) => seen.has(id)).map(({ device }) => device));
  devices.delete(mount.device);
  return devices;
}
