import { DiskError } from '../error/disk-error.js';
import type { Place } from '../error/message.js';

/**
 * The one way from a 64-bit quantity to a JavaScript number: exact, or refused.
 *
 * @param place what the value is, for the message
 * @throws {DiskError} UNSUPPORTED when the value lies outside ±(2^53 - 1)
 */
export function toNumber(value: bigint, place: Place = {}): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) {
    throw DiskError.unsupported({ field: 'value', ...place, actual: value, expected: 'a magnitude below 2^53' });
  }
  return number;
}

/** Refuses an index outside 0 … count - 1. */
export function checkIndex(index: number, count: number, place: Place): number {
  if (!Number.isInteger(index) || index < 0 || index >= count) {
    throw DiskError.corrupt({ ...place, actual: index, expected: count === 0 ? 'none' : `0 to ${count - 1}` });
  }
  return index;
}

/** The smaller of two quantities. */
export function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

/** The larger of two quantities. */
export function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** `value` rounded down to a multiple of `unit` (above 0). */
export function roundDown(value: bigint, unit: bigint): bigint {
  return value - (value % unit);
}

/** `value` rounded up to a multiple of `unit` (above 0). */
export function roundUp(value: bigint, unit: bigint): bigint {
  return roundDown(value + unit - 1n, unit);
}
