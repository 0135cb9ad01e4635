import type { FreezeStatus, MountStatus } from '../../task/freeze-status.js';
import { inSeconds } from '../freeze-flags.js';

/** One line a mount: `/srv: frozen by disktool 12 s ago, thaws by itself in 48 s`. */
export function describeStatus({ mounts }: FreezeStatus): string {
  if (mounts.length === 0) return 'nothing is frozen by disktool (others are asked with --all, or by name)';
  return mounts.map((mount) => `${mount.mountPoint}: ${describe(mount)}`).join('\n');
}

function describe({ state, by, since, until, note }: MountStatus): string {
  const now = Date.now();
  const who = by === undefined ? '' : ` by ${by === 'disktool' ? by : 'somebody else'}`;
  const ago = state !== 'frozen' || since === undefined ? '' : ` ${inSeconds(Math.max(0, now - since))} ago`;
  const end =
    state !== 'frozen' || until === undefined ? '' : `, thaws by itself in ${inSeconds(Math.max(0, until - now))}`;
  return `${state}${who}${ago}${end}${note === undefined ? '' : ` (${note})`}`;
}
