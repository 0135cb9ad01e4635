/**
 * How a structure on disk or on the wire is declared. A layout is a table of fields, each with its byte offset, type,
 * unit and meaning; from it come the TypeScript type, a view that reads the fields where they lie, and an encoder.
 * A view has no meaning and checks nothing but its bounds: a reader beside it turns it into checked facts.
 */

type Kind = 'u8' | 'u16' | 'u32' | 'u64' | 'i32' | 'i64' | 'bytes' | 'ascii' | 'u16s' | 'u32s';

/** One field of a layout; `Value` is its type in TypeScript. */
export interface Field<Value> {
  readonly kind: Kind;
  /** Bytes from the start of the structure. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  readonly unit: string;
  readonly meaning: string;
  /** Never set: carries the value's type. */
  readonly value?: Value;
}

type Declare<Value> = (offset: number, unit: string, meaning: string) => Field<Value>;
type DeclareMany<Value> = (offset: number, count: number, unit: string, meaning: string) => Field<Value>;

const one =
  <Value>(kind: Kind, size: number): Declare<Value> =>
  (offset, unit, meaning) => ({ kind, offset, size, unit, meaning });
const many =
  <Value>(kind: Kind, size: number): DeclareMany<Value> =>
  (offset, count, unit, meaning) => ({ kind, offset, size: size * count, unit, meaning });

export const u8 = one<number>('u8', 1);
export const u16 = one<number>('u16', 2);
export const u32 = one<number>('u32', 4);
export const u64 = one<bigint>('u64', 8);
export const i32 = one<number>('i32', 4);
export const i64 = one<bigint>('i64', 8);
/** Raw bytes: a view of the same memory, not a copy. */
export const bytes = many<Uint8Array>('bytes', 1);
/** Text of one byte a character, up to its first NUL. */
export const ascii = many<string>('ascii', 1);
export const u16s = many<readonly number[]>('u16s', 2);
export const u32s = many<readonly number[]>('u32s', 4);

type Fields = Readonly<Record<string, Field<unknown>>>;
type Values<F extends Fields> = { readonly [Name in keyof F]: F[Name] extends Field<infer Value> ? Value : never };

/** The type of a layout's views. */
export type ViewOf<L> = L extends Layout<infer F> ? Values<F> : never;

export interface Layout<F extends Fields> {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** The document and section that it comes from. */
  readonly spec: string;
  readonly fields: F;
  /**
   * A read-only view of the structure at `base` of `view`.
   *
   * @throws {RangeError} when the structure does not fit: whoever calls it has read enough bytes
   */
  at(view: DataView, base?: number): Values<F>;
  /** A plain object of the values, for tests and logs. */
  values(view: DataView, base?: number): Values<F>;
  /**
   * Writes the given fields at `base`; those not named stay as they are.
   *
   * @throws {RangeError} when the structure does not fit, or a field cannot hold its value exactly
   */
  put(view: DataView, values: Partial<Values<F>>, base?: number): void;
}

export interface LayoutOptions {
  /** Bytes. */
  size: number;
  endian: 'little' | 'big';
  spec: string;
}

/**
 * Declares a structure.
 *
 * @throws {Error} at load, when fields overlap, run backwards or pass the structure's size
 */
export function layout<const F extends Fields>(name: string, options: LayoutOptions, fields: F): Layout<F> {
  const little = options.endian === 'little';
  let end = 0;
  for (const [fieldName, field] of Object.entries(fields)) {
    if (fieldName === 'view' || fieldName === 'base') {
      throw new Error(`${name}.${fieldName}: a view keeps what it shows under that name`);
    }
    if (field.offset < end || field.offset + field.size > options.size) {
      throw new Error(`${name}.${fieldName} at ${field.offset} overlaps its neighbour or passes ${options.size} bytes`);
    }
    end = field.offset + field.size;
  }

  class View {
    constructor(
      readonly view: DataView,
      readonly base: number,
    ) {}
  }
  for (const [fieldName, field] of Object.entries(fields)) {
    Object.defineProperty(View.prototype, fieldName, { get: getter(field, little), enumerable: true });
  }

  const checkFit = (view: DataView, base: number) => {
    if (base < 0 || base + options.size > view.byteLength) {
      throw new RangeError(`${name} at ${base} passes the end of ${view.byteLength} bytes`);
    }
  };
  const at = (view: DataView, base = 0): Values<F> => {
    checkFit(view, base);
    // Every name in `fields` has just been given a getter of its declared type.
    return new View(view, base) as unknown as Values<F>;
  };
  return {
    name,
    size: options.size,
    spec: options.spec,
    fields,
    at,
    values(view, base) {
      const from = at(view, base);
      const entries = Object.keys(fields).map((fieldName) => [fieldName, from[fieldName]]);
      // One entry for each name in `fields`, of its declared type.
      return Object.fromEntries(entries) as Values<F>;
    },
    put(view, values, base = 0) {
      checkFit(view, base);
      // Not by Object.entries, which makes arrays: servers come here for each reply.
      for (const fieldName in values) {
        const field = fields[fieldName];
        if (field === undefined) throw new Error(`${name} has no field ${fieldName}`);
        write(field, view, base, little, values[fieldName]);
      }
    },
  };
}

type Getter = (this: { view: DataView; base: number }) => unknown;

/** A function for each kind, so that each call site in the engine sees one shape. */
function getter({ kind, offset, size }: Field<unknown>, little: boolean): Getter {
  switch (kind) {
    case 'u8':
      return function () {
        return this.view.getUint8(this.base + offset);
      };
    case 'u16':
      return function () {
        return this.view.getUint16(this.base + offset, little);
      };
    case 'u32':
      return function () {
        return this.view.getUint32(this.base + offset, little);
      };
    case 'u64':
      return function () {
        return this.view.getBigUint64(this.base + offset, little);
      };
    case 'i32':
      return function () {
        return this.view.getInt32(this.base + offset, little);
      };
    case 'i64':
      return function () {
        return this.view.getBigInt64(this.base + offset, little);
      };
    case 'bytes':
      return function () {
        return new Uint8Array(this.view.buffer, this.view.byteOffset + this.base + offset, size);
      };
    case 'ascii':
      return function () {
        const text = Buffer.from(this.view.buffer, this.view.byteOffset + this.base + offset, size);
        const end = text.indexOf(0);
        return text.toString('latin1', 0, end === -1 ? size : end);
      };
    case 'u16s':
      return function () {
        return Array.from({ length: size / 2 }, (_, i) => this.view.getUint16(this.base + offset + i * 2, little));
      };
    case 'u32s':
      return function () {
        return Array.from({ length: size / 4 }, (_, i) => this.view.getUint32(this.base + offset + i * 4, little));
      };
  }
}

function write({ kind, offset, size }: Field<unknown>, view: DataView, base: number, little: boolean, value: unknown) {
  const at = base + offset;
  if (kind === 'ascii' && typeof value === 'string') {
    const text = Buffer.from(value, 'latin1');
    if (text.length > size || text.toString('latin1') !== value || value.includes('\0')) refuse(kind, size, value);
    new Uint8Array(view.buffer, view.byteOffset + at, size).fill(0).set(text);
  } else if (kind === 'bytes' && value instanceof Uint8Array && value.length === size) {
    new Uint8Array(view.buffer, view.byteOffset + at, size).set(value);
  } else if ((kind === 'u16s' || kind === 'u32s') && Array.isArray(value)) {
    const width = kind === 'u16s' ? 2 : 4;
    if (value.length !== size / width) refuse(kind, size, value);
    value.forEach((item: unknown, i) => {
      writeInteger(width === 2 ? 'u16' : 'u32', width, view, at + i * width, little, item);
    });
  } else writeInteger(kind, size, view, at, little, value);
}

function writeInteger(kind: Kind, size: number, view: DataView, at: number, little: boolean, value: unknown) {
  if (typeof value === 'bigint') {
    if (kind === 'u64' && value === BigInt.asUintN(64, value)) return view.setBigUint64(at, value, little);
    if (kind === 'i64' && value === BigInt.asIntN(64, value)) return view.setBigInt64(at, value, little);
  } else if (typeof value === 'number') {
    if (kind === 'u8' && value === (value & 0xff)) return view.setUint8(at, value);
    if (kind === 'u16' && value === (value & 0xffff)) return view.setUint16(at, value, little);
    if (kind === 'u32' && value === value >>> 0) return view.setUint32(at, value, little);
    if (kind === 'i32' && value === (value | 0)) return view.setInt32(at, value, little);
  }
  return refuse(kind, size, value);
}

function refuse(kind: Kind, size: number, value: unknown): never {
  throw new RangeError(`a ${kind} of ${size} bytes cannot hold ${String(value)}`);
}

/** A view of the memory that `memory` shows, not of the whole buffer behind it. */
export function viewOf(memory: Uint8Array): DataView {
  return new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
}

/** The memory that a view shows. */
export function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
