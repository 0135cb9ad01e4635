import type { BlockDevice } from '../../device/block-device.js';

/** What the user should know of the host's filesystem before room is given back on it. */
export function hostWarnings(_disk: BlockDevice): string[] {
  return [];
}
