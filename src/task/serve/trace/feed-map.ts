import type { BlockDevice } from '../../../device/block-device.js';
import type { Guest } from '../../../guest/guest.js';
import { mapGuest } from '../../block-map/block-map.js';
import type { LineSink } from '../../block-map/owner-index.js';
import { readMap } from '../../block-map/read-map.js';
import type { TaskContext } from '../../context.js';

/** Where the block map of a disk comes from: a file that was made before, or the disk as its guest sees it. */
export type MapSource = { readonly map: string } | { readonly guest: Guest };

/**
 * Gives the lines of a disk's map to sinks. What is free has its lines too, where the map is made here.
 *
 * @throws {DiskError} as readMap; IO, CANCELLED
 */
export async function feedMap(
  source: MapSource,
  disk: BlockDevice,
  sinks: readonly LineSink[],
  context: TaskContext,
): Promise<void> {
  const all = new Fork(sinks);
  if ('map' in source) return await readMap(source.map, disk.facts.size, all, context);
  const { lines } = await mapGuest(source.guest, { free: true }, context);
  const devices = new Map<string, number>();
  for (const { kind, start, end, device, path } of lines) {
    let number = devices.get(device);
    if (number === undefined) {
      const name = Buffer.from(device);
      number = all.device(name, 0, name.length);
      devices.set(device, number);
    }
    all.add(kind, Number(start), Number(end), number, path, 0, path?.length ?? 0);
  }
}

/** Hands each line on to several sinks, each of which numbers devices in its own way. */
class Fork implements LineSink {
  /** Of each device, the numbers that the sinks have for it. */
  readonly #numbers: number[][] = [];

  constructor(private readonly sinks: readonly LineSink[]) {}

  device(bytes: Uint8Array, start: number, end: number): number {
    return this.#numbers.push(this.sinks.map((sink) => sink.device(bytes, start, end))) - 1;
  }

  add(...[kind, start, end, device, path, pathStart, pathEnd]: Parameters<LineSink['add']>): void {
    const numbers = this.#numbers[device] ?? [];
    for (let i = 0; i < this.sinks.length; i++) {
      this.sinks[i]?.add(kind, start, end, numbers[i] ?? 0, path, pathStart, pathEnd);
    }
  }
}
