import { fchmodSync, fstatSync } from 'node:fs';
import { toNumber } from '../binary/convert.js';
import type { BlockDevice } from '../device/block-device.js';
import { errnoOf } from '../host/errno.js';
import { setTimes } from '../host/times.js';
import type { TaskContext } from './context.js';

/**
 * Keeps a file's times and mode, to be set again after work in place: that counts as writing, though not a byte in use has
 * changed. Undefined for what is no file that is open for writing.
 */
export function rememberAttributes(
  { name, facts: { hostFile, extents, writable } }: BlockDevice,
  { onWarning }: Pick<TaskContext, 'onWarning'>,
) {
  if (hostFile === undefined || !extents || !writable) return undefined;
  const { fd } = hostFile;
  const before = fstatSync(fd, { bigint: true });
  return {
    /** Whoever may write to a file need not be the one who may set these. That is no failure of the work. */
    restore() {
      try {
        // A host may take set-user-ID off what an ordinary user writes to.
        if (fstatSync(fd, { bigint: true }).mode !== before.mode) fchmodSync(fd, toNumber(before.mode & 0o7777n));
        setTimes(fd, before, name);
      } catch (error) {
        const errno = errnoOf(error);
        if (errno === undefined) throw error;
        onWarning?.(`${name}: its times are not kept (${errno}): only its owner and root may set them`);
      }
    },
  };
}
