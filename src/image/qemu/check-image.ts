import { DiskError } from '../../error/disk-error.js';
import { requireProgram, runProgram } from '../../host/process.js';
import type { FormatNode } from './block-node.js';

/** Exit status of `qemu-img check` (qemu-img(1)): the image is damaged. */
const damaged = 2;
/** What it says, with status 1, of a VMDK image that was cut short. */
const pointsPastEnd = /points after EOF/;

/**
 * Refuses an image whose tables lead past the end of its file: QEMU reads zeros there and says nothing, so that a copy of
 * an image that was cut short would look whole.
 *
 * @throws {DiskError} CORRUPT; NOT_FOUND without qemu-img; CANCELLED
 */
export async function checkByQemu(path: string, node: FormatNode, signal: AbortSignal | undefined): Promise<void> {
  const program = requireProgram('qemu-img', `${path} goes through QEMU: install qemu-utils (qemu-img on Fedora)`);
  const { status, stderr } = await runProgram(program, ['check', `json:${JSON.stringify(node)}`], { signal });
  // Whatever else it says, opening the image says as well.
  if (status !== damaged && !pointsPastEnd.test(stderr)) return;
  throw new DiskError(
    'CORRUPT',
    `${path}: QEMU finds it damaged: was it cut short? See qemu-img check -f ${node.driver}, which can repair some damage (-r all)`,
    { device: path, reason: 'damaged' },
  );
}
