import { setTimeout as sleep } from 'node:timers/promises';
import type { BlockDevice } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { type ActivatedProgram, startActivated } from '../../host/activated-program.js';
import { type Ended, requireProgram } from '../../host/process.js';
import { NbdDevice } from '../../nbd/index.js';
import type { FormatNode } from './block-node.js';
import { complaintAsError, tidyComplaint } from './complaint.js';
import { QemuDevice } from './qemu-device.js';

export interface QemuOptions {
  /** The image as the user gave it. */
  readonly path: string;
  readonly node: FormatNode;
  readonly access: 'read' | 'write';
  /** Bytes: by what the format gives room back. */
  readonly blockSize?: number | undefined;
  /** What is closed with the device: the image's own file, and those below it. */
  readonly owned: readonly BlockDevice[];
  readonly signal?: AbortSignal | undefined;
  readonly onWarning?: ((message: string) => void) | undefined;
}

/** Milliseconds: QEMU reads an image's tables before it answers, and a cold disk is slow. */
const patience = 60_000;
/** Milliseconds that it has to write back its caches and end, once nobody uses it any more. */
const grace = 60_000;

/**
 * Opens an image by a qemu-nbd of our own, which ends with us. It takes its own locks on the image, so those that we hold
 * must let it.
 *
 * @throws {DiskError} NOT_FOUND without qemu-nbd; BUSY when somebody else has the image open; UNSUPPORTED, CORRUPT or IO
 * in QEMU's words; CANCELLED. What is `owned` then stays open.
 */
export async function openByQemu(options: QemuOptions): Promise<QemuDevice> {
  const { path, node, access, owned, blockSize, signal, onWarning } = options;
  const program = requireProgram('qemu-nbd', `${path} goes through QEMU: install qemu-utils (qemu-img on Fedora)`);
  if (signal?.aborted) throw DiskError.cancelled(signal);
  const how = access === 'read' ? ['--read-only'] : ['--discard=unmap', '--detect-zeroes=unmap'];
  const qemu = await startActivated(program, [...how, `json:${JSON.stringify(node)}`]);
  try {
    const name = `${node.driver} of ${path}`;
    const disk = await NbdDevice.over(qemu.socket, name, { access, signal, patience });
    const end = async () => {
      const ended = await endOfQemu(qemu);
      for (const line of tidyComplaint(qemu.complaint())) onWarning?.(`${path}: QEMU says: ${line}`);
      return ended?.status === 0;
    };
    return new QemuDevice(disk, { blockSize, owned, end });
  } catch (error) {
    qemu.send('SIGTERM');
    await endOfQemu(qemu);
    if (signal?.aborted) throw DiskError.cancelled(signal);
    throw await complaintAsError(path, qemu.complaint(), owned[0], error);
  }
}

/** Our connection is closed, so it ends by itself. One that hangs in spite of that has nothing left that matters. */
async function endOfQemu(qemu: ActivatedProgram): Promise<Ended | undefined> {
  const stop = new AbortController();
  const late = sleep(grace, undefined, { signal: stop.signal }).then(
    () => qemu.send('SIGKILL'),
    () => {},
  );
  const ended = await qemu.ended.catch(() => undefined);
  stop.abort();
  await late;
  return ended;
}
