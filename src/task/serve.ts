import { basename } from 'node:path';
import type { BlockDevice } from '../device/block-device.js';
import { memoryDevice } from '../device/memory-device.js';
import { DiskError, hasCode } from '../error/disk-error.js';
import { openImage } from '../image/open-image.js';
import { type Address, type Export, isWritable, loopback, NbdServer } from '../nbd/index.js';
import type { TaskContext } from './context.js';

/** What is served. */
export type ServeSource =
  /** An image of any format that disktool reads. */
  | { readonly image: string }
  /** A file's bytes, whatever format they seem to have. */
  | { readonly file: string }
  /** A disk of zeros in memory, of so many bytes. */
  | { readonly memory: bigint };

export interface ServeOptions {
  readonly source: ServeSource;
  readonly address: Address;
  readonly readOnly?: boolean | undefined;
  readonly exportName?: string | undefined;
  /** Only this partition of the disk, by any of its names: `/dev/sda1`. */
  readonly partition?: string | undefined;
  /** Read-only: although somebody writes to the image. */
  readonly forceShare?: boolean | undefined;
  /** Although somebody else has the image open for reading. */
  readonly force?: boolean | undefined;
}

/** Where the disk can be reached. */
export interface ServeReady {
  readonly uri: string;
  /** Empty: the default export. */
  readonly exportName: string;
  readonly name: string;
  /** Bytes. */
  readonly size: bigint;
  readonly readOnly: boolean;
}

/**
 * Serves a disk over NBD until the signal fires; then answers what has been received, makes everything durable and
 * resolves.
 *
 * @param onReady called once clients can connect
 * @throws {DiskError} what opening, listening or the last flush throws
 */
export async function serve(
  options: ServeOptions,
  context: TaskContext,
  onReady: (ready: ServeReady) => void,
): Promise<void> {
  const { source, address, readOnly = false, exportName = '', partition } = options;
  const disk = await openSource(options, context);
  try {
    const device = partition === undefined ? disk : await partitionOf(disk, partition, context);
    const name = 'memory' in source ? device.name : basename('image' in source ? source.image : source.file);
    const exported: Export = { name: exportName, description: describe(name, partition), device, readOnly };
    warnOfStrangers(address, context);
    const server = await NbdServer.listen([exported], address);
    try {
      const { uri } = server;
      onReady({ uri, exportName, name, size: device.facts.size, readOnly: !isWritable(exported) });
      await aborted(context.signal);
    } finally {
      await server.close();
    }
    if (disk.facts.writable && disk.facts.flush) await disk.flush();
  } finally {
    await disk.close();
  }
}

async function openSource({ source, readOnly = false, force, forceShare }: ServeOptions, context: TaskContext) {
  if ('memory' in source) return memoryDevice(source.memory);
  const { signal, onWarning } = context;
  const plain = 'file' in source;
  const path = plain ? source.file : source.image;
  try {
    return await openImage(path, {
      access: readOnly ? 'read' : 'write',
      force,
      forceShare,
      signal,
      onWarning,
      format: plain ? 'raw' : undefined,
    });
  } catch (error) {
    if (!plain || !hasCode(error, 'NOT_FOUND')) throw error;
    throw new DiskError('NOT_FOUND', `${error.message}: make it first: truncate -s 10G ${path}`, {
      ...error.facts,
      cause: error,
    });
  }
}

async function partitionOf(disk: BlockDevice, name: string, { signal, onWarning }: TaskContext): Promise<BlockDevice> {
  // Only here, since every other server starts without what reads partitions and filesystems.
  const [{ openGuest }, { findVolume }] = await Promise.all([
    import('../guest/guest.js'),
    import('../guest/find-volume.js'),
  ]);
  const guest = await openGuest(disk, signal === undefined ? {} : { signal });
  for (const warning of guest.warnings) onWarning?.(warning);
  return findVolume(guest, name).device;
}

function describe(name: string, partition: string | undefined): string {
  return partition === undefined ? name : `${partition} of ${name}`;
}

/** Nothing keeps other machines' users out but the network. */
function warnOfStrangers(address: Address, { onWarning }: TaskContext): void {
  if ('socketPath' in address) return;
  const { host } = address;
  if (host === loopback || host === '::1' || /^127\./.test(host)) return;
  onWarning?.(`whoever reaches ${host} can use the disk: NBD asks for no password`);
}

function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal === undefined) return;
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
