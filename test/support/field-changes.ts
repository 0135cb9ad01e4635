import fc from 'fast-check';
import type { Field } from '../../src/binary/layout.js';

/** Damage that goes by the names of fields: far likelier to get past a magic number than bytes at random. */

/** A structure somewhere in an image. */
export interface Structure {
  readonly layout: { readonly name: string; readonly fields: Readonly<Record<string, Field<unknown>>> };
  /** Bytes from the start of the image. */
  readonly base: number;
  /** Default `little`. */
  readonly endian?: 'little' | 'big';
}

/** One field of one structure, and how it is changed. */
export interface FieldChange {
  /** `GPT header: MyLBA`. */
  readonly name: string;
  apply(image: Uint8Array): void;
}

type Change = (old: bigint, width: bigint) => bigint;

/** What parsers trip over: the ends of a range, what is next to the truth, and what is far from it. */
const changes: readonly Change[] = [
  () => 0n,
  () => 1n,
  (_, width) => (1n << width) - 1n,
  (_, width) => (1n << width) - 2n,
  (_, width) => 1n << (width - 1n),
  (_, width) => (1n << (width - 1n)) - 1n,
  (old) => old - 1n,
  (old) => old + 1n,
  (old) => old * 2n,
  (old) => old / 2n,
  (old) => old ^ 0x8000_0000n,
];

/** A change of any field of these structures: to something telling, to a number at random, or of one of its bits. */
export function fieldChange(structures: readonly Structure[]): fc.Arbitrary<FieldChange> {
  const fields = structures.flatMap(({ layout, base, endian = 'little' }) =>
    Object.entries(layout.fields).map(([name, field]) => ({ name: `${layout.name}: ${name}`, field, base, endian })),
  );
  const how: fc.Arbitrary<Change> = fc.oneof(
    fc.constantFrom(...changes),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => () => value),
    fc.nat(63).map((bit) => (old: bigint, width: bigint) => old ^ (1n << (BigInt(bit) % width))),
  );
  return fc.tuple(fc.constantFrom(...fields), how, fc.nat()).map(([{ name, field, base, endian }, change, at]) => ({
    name,
    apply: (image) => {
      // Of text, tables and other long fields, up to eight bytes somewhere in them.
      const size = Math.min(8, field.size);
      const start = base + field.offset + (field.size > 8 ? at % (field.size - size + 1) : 0);
      const bytes = image.subarray(start, start + size);
      const width = BigInt(size) * 8n;
      write(bytes, endian, BigInt.asUintN(Number(width), change(read(bytes, endian), width)));
    },
  }));
}

function read(bytes: Uint8Array, endian: 'little' | 'big'): bigint {
  const highFirst = endian === 'big' ? bytes : bytes.toReversed();
  return highFirst.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function write(bytes: Uint8Array, endian: 'little' | 'big', value: bigint): void {
  for (let i = 0; i < bytes.length; i++) {
    const place = endian === 'little' ? i : bytes.length - 1 - i;
    bytes[place] = Number((value >> BigInt(8 * i)) & 0xffn);
  }
}
