/**
 * The mask of one bit of a 32-bit field.
 *
 * @param position 0 … 31
 */
export function bit(position: number): number {
  if (position < 0 || position > 31) throw new RangeError(`a 32-bit field has no bit ${position}`);
  return (1 << position) >>> 0;
}

/** The mask of bits `low` … `high`, both inclusive as specifications write them, of a 64-bit field. */
export function bits(low: number, high: number): bigint {
  return ((1n << BigInt(high - low + 1)) - 1n) << BigInt(low);
}

/** The named flags of one 32-bit field. */
export interface Flags<Name extends string> {
  readonly field: string;
  readonly mask: Readonly<Record<Name, number>>;
  has(value: number, name: Name): boolean;
  /** The names that are set, in the order of their declaration. */
  names(value: number): string[];
  /** Each bit that is set and not in `known`, by its name or as `bit 17`. */
  beyond(value: number, known: readonly Name[]): string[];
}

/** Declares the flags of a field: `flags('s_feature_incompat', { FILETYPE: bit(1), … })`. */
export function flags<const Name extends string>(field: string, mask: Readonly<Record<Name, number>>): Flags<Name> {
  const entries = Object.entries<number>(mask);
  const names = (value: number) => entries.filter(([, flag]) => (value & flag) !== 0).map(([name]) => name);
  return {
    field,
    mask,
    has: (value, name) => (value & mask[name]) !== 0,
    names,
    beyond(value, known) {
      const accepted = known.reduce((all, name) => all | mask[name], 0);
      const rest = (value & ~accepted) >>> 0;
      const named = entries.reduce((all, [, flag]) => all | flag, 0);
      const unnamed = Array.from({ length: 32 }, (_, i) => i).filter((i) => (((rest & ~named) >>> i) & 1) === 1);
      return [...names(rest), ...unnamed.map((i) => `bit ${i}`)];
    },
  };
}

/** Whether a number is 1, 2, 4, 8 and so on up to 2^31. */
export function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}
