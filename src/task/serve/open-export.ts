import { close, open } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import { Placement } from '../../binary/placement.js';
import { type Range, RangeSet } from '../../binary/range-set.js';
import type { BlockDevice } from '../../device/block-device.js';
import { FileDevice } from '../../device/file-device.js';
import { Slice } from '../../device/layer/slice.js';
import { type LayerOptions, withLayers } from '../../device/layer/stack.js';
import type { StatsLayer } from '../../device/layer/stats.js';
import { memoryDevice } from '../../device/memory-device.js';
import { DiskError, hasCode } from '../../error/disk-error.js';
import type { Guest } from '../../guest/guest.js';
import { wrapSystemError } from '../../host/errno.js';
import { call } from '../../host/libc.js';
import { openImage, type SourceOptions } from '../../image/open-image.js';
import type { Export } from '../../nbd/index.js';
import type { TaskContext } from '../context.js';
import type { PlanOptions } from '../sparsify/plan.js';
import type { ServedPlace } from './trace/served-place.js';
import type { MapUses, UsedMap } from './trace/use-map.js';

const openFd = promisify(open);
const closeFd = promisify(close);

/** What is served: an image, a file's bytes whatever they look like, or memory of that many bytes. */
export type ServeSource = { readonly image: string } | { readonly file: string } | { readonly memory: bigint };

export interface ExportOptions extends SourceOptions {
  readonly source: ServeSource;
  /** Of the export; empty: the default one. */
  readonly name: string;
  /** Only this partition of the disk, by any of its names: `/dev/sda1`. */
  readonly partition?: string | undefined;
  /** Only these bytes, of the partition where one is named. */
  readonly range?: Range | undefined;
  readonly readOnly: boolean;
  /** What is free, by these options, reads as zeros and is reported as holes: only of a disk that is only read. */
  readonly freeAsHoles?: Omit<PlanOptions, 'zero'> | undefined;
  /** Where writes go instead of to the disk: to memory, or to a new file of this name, which is gone at the end. */
  readonly cow?: 'memory' | { readonly file: string } | undefined;
  readonly layers: Omit<LayerOptions, 'overlay'>;
  /** What a block map of the disk is needed for. */
  readonly uses?: MapUses | undefined;
  /** The block map of the disk, made before: of none, one is made where it is needed. */
  readonly map?: string | undefined;
  /** Although somebody else has the image open for reading. */
  readonly force?: boolean | undefined;
}

/** An export and what it stands on. */
export interface OpenExport {
  readonly exported: Export;
  readonly stats: StatsLayer | undefined;
  /** What the block map was needed for. */
  readonly used: UsedMap | undefined;
  /** Makes what was written durable. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** @throws {DiskError} what opening throws; USAGE for a range or an overlay that does not fit */
export async function openExport(options: ExportOptions, context: TaskContext): Promise<OpenExport> {
  const { source, name, partition, range, readOnly, cow, layers } = options;
  const disk = await openSource(options, context);
  try {
    const { part, place, guest } = await partOf(disk, options, context);
    const used = await mapOf({ disk, guest, place }, options, context);
    const overlay = cow && (await openOverlay(cow, part.facts.size));
    const { device, stats } = withLayers(part, { ...narrowed(layers, used), overlay });
    const what = 'memory' in source ? disk.name : basename('image' in source ? source.image : source.file);
    return {
      exported: {
        name,
        description: describe(what, partition, range),
        device,
        readOnly,
        requests: used?.watch?.requests,
      },
      stats,
      used,
      flush: async () => {
        if (disk.facts.writable && disk.facts.flush) await disk.flush();
      },
      close: async () => {
        await used?.watch?.end();
        await device.close();
        await disk.close();
      },
    };
  } catch (error) {
    await disk.close();
    throw error;
  }
}

async function openSource(options: ExportOptions, context: TaskContext) {
  const { source, readOnly, cow, force, format, snapshot, forceShare } = options;
  if ('memory' in source) return memoryDevice(source.memory);
  const { signal, onWarning } = context;
  const plain = 'file' in source;
  const path = plain ? source.file : source.image;
  try {
    return await openImage(path, {
      access: readOnly || cow !== undefined ? 'read' : 'write',
      force,
      forceShare,
      signal,
      onWarning,
      format: plain ? 'raw' : format,
      snapshot,
    });
  } catch (error) {
    if (!plain || !hasCode(error, 'NOT_FOUND')) throw error;
    throw new DiskError('NOT_FOUND', `${error.message}: make it first: truncate -s 10G ${path}`, {
      ...error.facts,
      cause: error,
    });
  }
}

/** What of the disk is served: a part of it, with or without what is free. */
async function partOf(
  disk: BlockDevice,
  { partition, range, freeAsHoles, uses, map }: ExportOptions,
  context: TaskContext,
): Promise<{ part: BlockDevice; place: ServedPlace; guest?: Guest }> {
  const needsGuest = partition !== undefined || freeAsHoles !== undefined || (uses !== undefined && map === undefined);
  if (!needsGuest) {
    const place = { placement: Placement.at(0n, disk.facts.size), range };
    return { part: range === undefined ? disk : rangeOf(disk, range), place };
  }
  // Only here, since every other server starts without what reads partitions and filesystems.
  const { openGuest, findVolume, placedOn, viewWithoutFree, wholeDisk } = await import('./guest-parts.js');
  const guest = await openGuest(disk, { signal: context.signal });
  for (const warning of guest.warnings) context.onWarning?.(warning);
  const { name, device, placement } = partition === undefined ? wholeDisk(guest) : findVolume(guest, partition);
  let whole = device;
  if (freeAsHoles !== undefined) {
    const served = range === undefined ? placement.all : placement.toDisk(RangeSet.of([range]));
    const view = await viewWithoutFree(guest, served, freeAsHoles, context);
    whole = device === disk ? view : placedOn(view, placement, `${name} of ${view.name}`);
  }
  return { part: range === undefined ? whole : rangeOf(whole, range), place: { placement, range }, guest };
}

async function mapOf(
  { disk, guest, place }: { disk: BlockDevice; guest: Guest | undefined; place: ServedPlace },
  { uses, map }: ExportOptions,
  context: TaskContext,
): Promise<UsedMap | undefined> {
  if (uses === undefined) return undefined;
  const { useMap } = await import('./trace/use-map.js');
  return await useMap(uses, { disk, map, guest, place }, context);
}

/** Layers that disturb the blocks of some files alone, beside those that are named by their place. */
function narrowed(layers: ExportOptions['layers'], used: UsedMap | undefined): ExportOptions['layers'] {
  const { errorBlocks, delayBlocks } = used ?? {};
  const { errors } = layers;
  const range = errorBlocks === undefined ? errors?.range : errorBlocks.union(errors?.range ?? RangeSet.empty);
  return { ...layers, errors: errors && { ...errors, range }, delayRange: delayBlocks ?? layers.delayRange };
}

function rangeOf(disk: BlockDevice, { offset, length }: Range): BlockDevice {
  const { size } = disk.facts;
  if (offset + length > size) {
    throw new DiskError('USAGE', `bytes ${offset}+${length} pass the end of ${disk.name} (${size} bytes)`);
  }
  return new Slice(disk, offset, length);
}

async function openOverlay(cow: 'memory' | { readonly file: string }, size: bigint): Promise<BlockDevice> {
  if (cow === 'memory') return memoryDevice(size, 'overlay in memory');
  const { file } = cow;
  const fd = await openFd(file, 'wx+', 0o600).catch((error: unknown) => {
    throw wrapSystemError(`create the overlay ${file}`, error);
  });
  try {
    // Nobody could read it without knowing which of its blocks count: so it has no name, and is gone even after a kill.
    await unlink(file);
    call('ftruncate', `of the overlay ${file} to ${size} bytes`, fd, size);
  } catch (error) {
    await closeFd(fd);
    throw error;
  }
  return new FileDevice(fd, { name: file, size, writable: true, blockSize: 4096 });
}

function describe(name: string, partition: string | undefined, range: Range | undefined): string {
  const part = partition === undefined ? name : `${partition} of ${name}`;
  return range === undefined ? part : `bytes ${range.offset}+${range.length} of ${part}`;
}
