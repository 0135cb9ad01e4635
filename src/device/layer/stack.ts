import type { RangeSet } from '../../binary/range-set.js';
import type { BlockDevice } from '../block-device.js';
import { CowLayer } from './cow.js';
import { DelayLayer, type Delays } from './delay.js';
import { ErrorLayer, type ErrorOptions } from './error.js';
import { LogLayer } from './log.js';
import { RateLayer } from './rate.js';
import { type Rounding, RoundLayer } from './round.js';
import { StatsLayer } from './stats.js';

export interface LayerOptions {
  /** Writes go here, and the device below stays as it is. Owned by the layer. */
  readonly overlay?: BlockDevice | undefined;
  readonly rounding?: Rounding | undefined;
  readonly errors?: ErrorOptions | undefined;
  readonly delays?: Delays | undefined;
  /** Only requests that touch these bytes are delayed, and no flush. */
  readonly delayRange?: RangeSet | undefined;
  /** Bytes a second, above 0. */
  readonly rate?: number | undefined;
  /** Takes each line of a log. */
  readonly log?: ((line: string) => void) | undefined;
  readonly stats?: boolean | undefined;
}

/**
 * Puts layers on a device, in the one order that means what people expect of each: what changes the disk lies under what
 * disturbs it, and what watches sees what the client sees. From the disk outwards: overlay, rounding, errors, delays,
 * rate, statistics, log.
 *
 * @returns the outermost, which owns the others and the device; the device itself when nothing is asked for
 * @throws {DiskError} USAGE when the overlay is too small, or a rounded size too large
 */
export function withLayers(
  device: BlockDevice,
  { overlay, rounding, errors, delays, delayRange, rate, log, stats = false }: LayerOptions,
): { device: BlockDevice; stats: StatsLayer | undefined } {
  let top = device;
  if (overlay !== undefined) top = new CowLayer(top, overlay);
  if (rounding !== undefined) top = new RoundLayer(top, rounding);
  if (errors !== undefined) top = new ErrorLayer(top, errors);
  if (delays !== undefined) top = new DelayLayer(top, delays, delayRange);
  if (rate !== undefined) top = new RateLayer(top, rate);
  const counting = stats ? new StatsLayer(top) : undefined;
  top = counting ?? top;
  if (log !== undefined) top = new LogLayer(top, log);
  return { device: top, stats: counting };
}
