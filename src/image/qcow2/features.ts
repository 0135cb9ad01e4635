import type { Flags } from '../../binary/bits.js';

/** The names that an image gives to bits of one of its fields. */
export type NamesInImage = ReadonlyMap<number, string>;

/** The names of the bits that are set: ours, else the image's, else `bit 17`. */
export function featureNames(features: bigint, known: Flags<string>, inImage: NamesInImage): string[] {
  return bitsOf(features).map((bit) => ownName(bit, known) ?? nameInImage(bit, inImage));
}

/** The names of the bits that are set and that we do not know. */
export function unknownFeatures(features: bigint, known: Flags<string>, inImage: NamesInImage): string[] {
  return bitsOf(features)
    .filter((bit) => ownName(bit, known) === undefined)
    .map((bit) => nameInImage(bit, inImage));
}

function bitsOf(features: bigint): number[] {
  return Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => ((features >> BigInt(bit)) & 1n) === 1n);
}

function ownName(bit: number, known: Flags<string>): string | undefined {
  return bit < 32 ? known.names((1 << bit) >>> 0)[0] : undefined;
}

function nameInImage(bit: number, names: NamesInImage): string {
  const name = names.get(bit);
  return name === undefined || name === '' ? `bit ${bit}` : `${name} (bit ${bit})`;
}
