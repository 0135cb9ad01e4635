import { endianness } from 'node:os';
import { constants, deflateRaw } from 'node:zlib';
import koffi from 'koffi';
import { layout, u32, u64, viewOf } from '../binary/layout.js';
import { callOnThread, type Entry } from './native-call.js';

/** Raw deflate of whole buffers (RFC 1951), on other threads than this one. */

export interface DeflateOptions {
  /** log2 of the bytes that a reader must keep: 8 to 15. */
  readonly windowBits: number;
  /** 1 to 9: how much memory it takes here. */
  readonly memLevel: number;
}

/** Compresses into memory, and tells how many bytes came of it; undefined when it has not the room. */
type Deflate = (bytes: Uint8Array, into: Uint8Array, options: DeflateOptions) => Promise<number | undefined>;

export type DeflateCodec = 'process' | 'node';

/** What zlib takes and gives, as every 64-bit Linux lays it out. */
const zStream = layout(
  'z_stream',
  { size: 112, endian: endianness() === 'LE' ? 'little' : 'big', spec: 'zlib.h, struct z_stream_s' },
  {
    next_in: u64(0, 'address', 'of what is still to be compressed'),
    avail_in: u32(8, 'bytes', 'still to be compressed'),
    total_in: u64(16, 'bytes', 'compressed so far'),
    next_out: u64(24, 'address', 'of where the result goes on'),
    avail_out: u32(32, 'bytes', 'still free behind it'),
    total_out: u64(40, 'bytes', 'of the result so far'),
    msg: u64(48, 'address', 'of words for an error'),
    state: u64(56, 'address', "of zlib's own"),
    zalloc: u64(64, 'address', '0: malloc'),
    zfree: u64(72, 'address', '0: free'),
    opaque: u64(80, 'address', 'for those two'),
    data_type: u32(88, 'enum', 'a guess at what is compressed'),
    adler: u64(96, '', 'checksum; not of raw deflate'),
    reserved: u64(104, '', ''),
  },
);
const deflated = 8;

interface Zlib {
  readonly version: string;
  readonly init: Entry;
  readonly deflate: Entry;
  readonly end: Entry;
}

/**
 * The zlib that Node.js stands on, which shows its functions to all. Never the host's library beside it: its calls of
 * itself would land in the one of this process.
 */
function find(): Zlib | undefined {
  try {
    const library = koffi.load(null);
    const version: unknown = library.func('const char *zlibVersion()')();
    if (typeof version !== 'string' || koffi.sizeof('void *') !== 8) return undefined;
    const init =
      'int deflateInit2_(void *s, int level, int method, int bits, int mem, int how, const char *v, int size)';
    return {
      version,
      init: library.func(init),
      deflate: library.func('int deflate(void *s, int flush)'),
      end: library.func('int deflateEnd(void *s)'),
    };
  } catch {
    return undefined;
  }
}

/** On koffi's threads, one a core: libuv's, which Node compresses on, are four, and read and write files as well. */
const byProcess =
  ({ version, init, deflate, end }: Zlib): Deflate =>
  async (bytes, into, { windowBits, memLevel }) => {
    const stream = new Uint8Array(zStream.size);
    const { Z_DEFAULT_COMPRESSION: level, Z_DEFAULT_STRATEGY: how } = constants;
    const begun: unknown = init(stream, level, deflated, -windowBits, memLevel, how, version, stream.length);
    if (begun !== constants.Z_OK) throw new Error(`zlib: error ${begun}`);
    try {
      const view = viewOf(stream);
      zStream.put(view, {
        next_in: koffi.address(bytes),
        avail_in: bytes.length,
        next_out: koffi.address(into),
        avail_out: into.length,
      });
      const result = await callOnThread(deflate, [stream, constants.Z_FINISH], { memory: [bytes, into] });
      const length = into.length - zStream.at(view).avail_out;
      const whole = result === constants.Z_STREAM_END;
      if (!whole && result !== constants.Z_OK && result !== constants.Z_BUF_ERROR) {
        throw new Error(`zlib: error ${result}`);
      }
      return whole ? length : undefined;
    } finally {
      end(stream);
    }
  };

const byNode: Deflate = (bytes, into, options) =>
  new Promise((resolve, reject) => {
    deflateRaw(bytes, { ...options, chunkSize: Math.max(64, bytes.length) }, (error, result) => {
      if (error !== null) reject(error);
      else if (result.length >= into.length) resolve(undefined);
      else {
        into.set(result);
        resolve(result.length);
      }
    });
  });

let found: ReadonlyMap<DeflateCodec, Deflate> | undefined;

function codecs(): ReadonlyMap<DeflateCodec, Deflate> {
  if (found !== undefined) return found;
  const all = new Map<DeflateCodec, Deflate>();
  const zlib = find();
  if (zlib !== undefined) all.set('process', byProcess(zlib));
  all.set('node', byNode);
  found = all;
  return all;
}

/** Those that are here, the one that is used first. */
export function deflateCodecs(): DeflateCodec[] {
  return [...codecs().keys()];
}

/**
 * Compresses to one raw deflate stream at the start of `into`, at zlib's usual level. Both are left alone until it settles.
 *
 * @returns bytes; undefined when they would fill `into`: of such a stream zlib does not say that it is whole
 */
export function deflateInto(
  bytes: Uint8Array,
  into: Uint8Array,
  options: DeflateOptions,
  name: DeflateCodec | undefined = deflateCodecs()[0],
): Promise<number | undefined> {
  const deflate = (name && codecs().get(name)) ?? byNode;
  return deflate(bytes, into, options);
}
