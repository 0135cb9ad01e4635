import type { HookTask } from '../../host/freeze-hooks.js';
import type { AgentAddress } from '../../machine/agent.js';
import type { TaskContext } from '../context.js';
import type { CopyFormat } from '../conversion.js';
import { planFreeze } from '../freeze-plan.js';
import type { Held } from '../held.js';
import { holdMounts } from '../hold-mounts.js';
import { copyWhileFrozen } from './copy-while-frozen.js';
import { checkPlaces } from './places.js';

export interface SnapshotOptions {
  /** What is frozen: mount points of this machine, or with `agent` those of the guest, none for all of its. */
  readonly mountPoints: readonly string[];
  readonly agent?: AgentAddress | undefined;
  /** The monitor of the QEMU that has the image open, at this unix socket: it makes the copy. */
  readonly qmp?: string | undefined;
  /** Milliseconds after which it thaws by itself, and the copy is given up; 0: never. */
  readonly timeout: number;
  readonly hooks?: HookTask | undefined;
  /** Freeze also what this program needs itself. */
  readonly freezeNeeded?: boolean | undefined;
  /** Of the image; undefined: found out by its first bytes. */
  readonly format?: 'raw' | 'qcow2' | undefined;
  /** Of the copy; undefined: that of the image. */
  readonly convert?: 'raw' | 'qcow2' | undefined;
  /** What is there already is replaced. */
  readonly replace?: boolean | undefined;
}

export interface SnapshotResult {
  /** Of the copy. */
  readonly format: CopyFormat['format'];
  /** Bytes: of the disk. */
  readonly size: bigint;
  /** The copy shares the image's blocks. */
  readonly cloned: boolean;
  /** What was frozen, by its names. */
  readonly frozen: readonly string[];
  /** Milliseconds for which writers stood still. */
  readonly frozenFor: number;
}

/**
 * Copies an image that is in use, as it is while its filesystems stand still: what the copy shows is one moment, and
 * needs no recovery. The copy appears whole or not at all; where the filesystems were thawed before it was taken, not.
 *
 * @throws {DiskError} as {@link freeze} and {@link copyImage}; BUSY (`in-use-by-writer`) for an image of another format
 * than raw that somebody writes to, without `qmp`; UNSAFE (`timeout`, `thawed`) when the copy would not be consistent
 */
export async function snapshot(
  image: string,
  output: string,
  options: SnapshotOptions,
  context: TaskContext = {},
): Promise<SnapshotResult> {
  const hold = await planHold(image, output, options, context);
  if (options.qmp === undefined) return await copyWhileFrozen(image, output, hold, options, context);
  // QEMU's side is loaded for those who need it alone.
  const { copyByQemu } = await import('./copy-by-qemu.js');
  return await copyByQemu(image, output, options.qmp, hold, options, context);
}

/** Refuses what could not be frozen, before anything is done. */
async function planHold(
  image: string,
  output: string,
  { mountPoints, agent, timeout, hooks, freezeNeeded = false }: SnapshotOptions,
  { signal, onWarning }: TaskContext,
): Promise<() => Promise<Held>> {
  if (agent !== undefined) {
    const { holdGuest } = await import('../hold-guest.js');
    return () => holdGuest(agent, { mountPoints, timeout, hooks }, signal);
  }
  const mounts = planFreeze(mountPoints, freezeNeeded);
  await checkPlaces(image, output, mounts, onWarning);
  return () => holdMounts(mounts, { timeout, hooks }, signal);
}
