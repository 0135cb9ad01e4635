import { RangeSet } from '../../../binary/range-set.js';
import type { BlockDevice } from '../../../device/block-device.js';
import { DiskError } from '../../../error/disk-error.js';
import type { Guest } from '../../../guest/guest.js';
import { type LineSink, OwnerIndexBuilder } from '../../block-map/owner-index.js';
import type { TaskContext } from '../../context.js';
import { feedMap } from './feed-map.js';
import { MapDevices } from './map-devices.js';
import { PathBlocks, type PathGlob } from './path-blocks.js';
import { locateIn, type ServedPlace, servedOf } from './served-place.js';
import { Tracer, type WatchOptions } from './tracer.js';
import { Watch } from './watch.js';

/** Bytes: what offsets in the index and in the ring of requests hold. */
const largest = 2n ** 53n - 1n;

/** A disk of which a part is served, and how its map is come by. */
export interface MappedDisk {
  readonly disk: BlockDevice;
  readonly place: ServedPlace;
  /** A file that has the map. */
  readonly map?: string | undefined;
  /** Needed where there is none. */
  readonly guest?: Guest | undefined;
}

/** What a block map is needed for. */
export interface MapUses {
  readonly watch?: WatchOptions | undefined;
  /** Devices that are to be known by the names that the map has for them. */
  readonly devices?: readonly string[] | undefined;
  /** Files whose blocks are to be found. */
  readonly errorPaths?: readonly PathGlob[] | undefined;
  readonly delayPaths?: readonly PathGlob[] | undefined;
}

export interface UsedMap {
  readonly watch: Watch | undefined;
  /** The name that the map has for each of the devices. */
  readonly deviceNames: ReadonlyMap<string, string>;
  /** Bytes of what is served. */
  readonly errorBlocks: RangeSet | undefined;
  readonly delayBlocks: RangeSet | undefined;
}

/**
 * Reads or makes the block map of a disk, once, for all that it is needed for.
 *
 * @throws {DiskError} as {@link feedMap}; UNSUPPORTED for a disk past 2^53-1 bytes; NOT_FOUND for files that are not there, or have no blocks among what is served
 */
export async function useMap(
  { watch, devices: wanted = [], errorPaths = [], delayPaths = [] }: MapUses,
  { disk, place, map, guest }: MappedDisk,
  context: TaskContext,
): Promise<UsedMap> {
  if (disk.facts.size > largest) {
    throw new DiskError('UNSUPPORTED', `${disk.name} has ${disk.facts.size} bytes: disks of up to 2^53-1 are mapped`);
  }
  const index = watch && new OwnerIndexBuilder();
  const devices = new MapDevices(disk.name);
  const [errors, delays] = [errorPaths, delayPaths].map((globs) => globs.map((glob) => new PathBlocks(glob, guest)));
  const sinks: LineSink[] = [devices, ...(index === undefined ? [] : [index]), ...(errors ?? []), ...(delays ?? [])];
  const source = map !== undefined ? { map } : guest && { guest };
  if (source !== undefined) await feedMap(source, disk, sinks, context);
  const blocksOf = async (paths: readonly PathBlocks[] = []): Promise<RangeSet | undefined> => {
    if (paths.length === 0) return undefined;
    let all = RangeSet.empty;
    for (const path of paths) {
      const served = servedOf(place, await path.finish(devices, guest, context.signal));
      if (served.count === 0) throw path.notServed(disk.name);
      all = all.union(served);
    }
    return all;
  };
  return {
    watch: index && watch && new Watch(new Tracer(index.finish(), locateIn(place), watch), context),
    deviceNames: new Map(wanted.map((name) => [name, devices.find(name, guest)])),
    errorBlocks: await blocksOf(errors),
    delayBlocks: await blocksOf(delays),
  };
}
