import { viewOf } from './layout.js';

/** Bytes. */
const digestSize = 32;
const blockSize = 128;

/**
 * BLAKE2b with a digest of 32 bytes and no key: RFC 7693, section 3. That is no cut digest of 64 bytes: its length goes
 * into what is hashed. Words of 64 bits are pairs of 32 here, the low half first: a bigint each would take ten times as
 * long.
 *
 * @param bytes fewer than 2^32
 */
export function blake2b256(bytes: Uint8Array): Uint8Array {
  const state = Uint32Array.from(initial);
  // Of the parameters: digest length, no key, fan-out 1, depth 1.
  state[0] = (state[0] ?? 0) ^ (0x0101_0000 | digestSize);
  const block = new Uint8Array(blockSize);
  const words = viewOf(block);
  const message = new Uint32Array(32);
  const work = new Uint32Array(32);
  for (let at = 0, last = false; !last; at += blockSize) {
    last = at + blockSize >= bytes.length;
    block.fill(0);
    block.set(bytes.subarray(at, at + blockSize));
    for (let i = 0; i < 32; i++) message[i] = words.getUint32(i * 4, true);
    work.set(state);
    work.set(initial, 16);
    work[24] = (work[24] ?? 0) ^ (last ? bytes.length : at + blockSize);
    for (const i of last ? [28, 29] : []) work[i] = ~(work[i] ?? 0);
    for (const order of rounds) {
      for (let i = 0; i < 8; i++) {
        // Columns, then diagonals.
        const turn = i >> 2;
        const a = 2 * (i & 3);
        const b = 8 + 2 * ((i + turn) & 3);
        const c = 16 + 2 * ((i + 2 * turn) & 3);
        const d = 24 + 2 * ((i + 3 * turn) & 3);
        add(work, a, work, b);
        add(work, a, message, order[2 * i] ?? 0);
        rotate(work, d, a, 32);
        add(work, c, work, d);
        rotate(work, b, c, 24);
        add(work, a, work, b);
        add(work, a, message, order[2 * i + 1] ?? 0);
        rotate(work, d, a, 16);
        add(work, c, work, d);
        rotate(work, b, c, 63);
      }
    }
    for (let i = 0; i < 16; i++) state[i] = (state[i] ?? 0) ^ (work[i] ?? 0) ^ (work[i + 16] ?? 0);
  }
  return new Uint8Array(state.buffer, 0, digestSize);
}

/** Adds one word to another. */
function add(to: Uint32Array, i: number, from: Uint32Array, j: number): void {
  const low = (to[i] ?? 0) + (from[j] ?? 0);
  to[i] = low;
  to[i + 1] = (to[i + 1] ?? 0) + (from[j + 1] ?? 0) + (low > 0xffff_ffff ? 1 : 0);
}

/** One word exclusive or another, turned right. */
function rotate(work: Uint32Array, i: number, j: number, count: number): void {
  const low = (work[i] ?? 0) ^ (work[j] ?? 0);
  const high = (work[i + 1] ?? 0) ^ (work[j + 1] ?? 0);
  const [first, second] = count < 32 ? [low, high] : [high, low];
  const rest = count % 32;
  work[i] = rest === 0 ? first : (first >>> rest) | (second << (32 - rest));
  work[i + 1] = rest === 0 ? second : (second >>> rest) | (first << (32 - rest));
}

/** The start of the square roots' fractions of the first eight primes. */
const initial = Uint32Array.of(
  ...[0xf3bc_c908, 0x6a09_e667, 0x84ca_a73b, 0xbb67_ae85, 0xfe94_f82b, 0x3c6e_f372, 0x5f1d_36f1, 0xa54f_f53a],
  ...[0xade6_82d1, 0x510e_527f, 0x2b3e_6c1f, 0x9b05_688c, 0xfb41_bd6b, 0x1f83_d9ab, 0x137e_2179, 0x5be0_cd19],
);
/** The order of the words of the message in each round: ten of them, and the first two once more. */
const schedule = [
  '0123456789abcdef',
  'ea489fd61c02b753',
  'b8c052fdae367194',
  '7931dcbe265a40f8',
  '905724afe1bc683d',
  '2c6a0b834d75fe19',
  'c51fed4a0763928b',
  'db7ec13950f4862a',
  '6fe9b308c2d714a5',
  'a2847615fb9e3cd0',
];
const rounds = [...schedule, ...schedule.slice(0, 2)].map((order) =>
  Uint8Array.from(order, (digit) => 2 * Number.parseInt(digit, 16)),
);
