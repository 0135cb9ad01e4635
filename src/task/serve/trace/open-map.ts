import type { BlockDevice } from '../../../device/block-device.js';
import type { Guest } from '../../../guest/guest.js';
import { mapGuest } from '../../block-map/block-map.js';
import type { MapLines } from '../../block-map/map-lines.js';
import type { LineSink } from '../../block-map/owner-index.js';
import { readMap } from '../../block-map/read-map.js';
import type { TaskContext } from '../../context.js';

/** Where the block map of a disk comes from: a file that was made before, or the disk as its guest sees it. */
export type MapSource = { readonly map: string } | { readonly guest: Guest };

/**
 * Gives the lines of a disk's map to a sink. What is free has its lines too, where the map is made here.
 *
 * @throws {DiskError} as readMap; UNSUPPORTED for a disk past 2^53 bytes; IO, CANCELLED
 */
export async function feedMap(
  source: MapSource,
  disk: BlockDevice,
  sink: LineSink,
  context: TaskContext,
): Promise<void> {
  if ('map' in source) return await readMap(source.map, disk.facts.size, sink, context);
  const { lines } = await mapGuest(source.guest, { free: true }, context);
  feed(lines, sink);
}

function feed(lines: MapLines, sink: LineSink): void {
  const devices = new Map<string, number>();
  for (const { kind, start, end, device, path } of lines) {
    let number = devices.get(device);
    if (number === undefined) {
      const name = Buffer.from(device);
      number = sink.device(name, 0, name.length);
      devices.set(device, number);
    }
    sink.add(kind, Number(start), Number(end), number, path, 0, path?.length ?? 0);
  }
}
