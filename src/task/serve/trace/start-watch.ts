import type { BlockDevice } from '../../../device/block-device.js';
import type { Guest } from '../../../guest/guest.js';
import { OwnerIndexBuilder } from '../../block-map/owner-index.js';
import type { TaskContext } from '../../context.js';
import type { WatchOptions } from '../open-export.js';
import { feedMap } from './open-map.js';
import { locateIn, type ServedPlace } from './served-place.js';
import { Tracer } from './tracer.js';
import { Watch } from './watch.js';

/** A disk of which a part is served, and how its map is come by. */
export interface MappedDisk {
  readonly disk: BlockDevice;
  readonly place: ServedPlace;
  /** A file that has the map. */
  readonly map?: string | undefined;
  /** Needed where there is none. */
  readonly guest?: Guest | undefined;
}

/** Makes the map of a disk ready and traces by it. @throws {DiskError} as feedMap */
export async function startWatch(
  { tell, style }: WatchOptions,
  { disk, place, map, guest }: MappedDisk,
  context: TaskContext,
): Promise<Watch> {
  const builder = new OwnerIndexBuilder();
  const source = map !== undefined ? { map } : guest && { guest };
  if (source !== undefined) await feedMap(source, disk, builder, context);
  return new Watch(new Tracer(builder.finish(), locateIn(place), tell, style));
}
