import { DiskError } from '../error/disk-error.js';

/** Sizes, rates and times as people type and read them. */

const largest = 2n ** 63n - 1n;
const prefixes = 'KMGTPE';

/**
 * A size: `4096`, `10G`, `1.5T`, `7E`, `64KiB` (powers of 1024), `10MB` (powers of 1000), `512s` (sectors of 512 bytes),
 * `2^63-1`.
 *
 * @returns bytes: 0 … 2^63 - 1
 * @throws {DiskError} USAGE
 */
export function parseSize(text: string): bigint {
  const bytes = parsePower(text) ?? parseDecimal(text);
  if (bytes === undefined) {
    throw new DiskError('USAGE', `"${text}" is no size: write it like 4096, 10G, 1.5T, 64KiB, 10MB or 2^63-1`);
  }
  if (bytes > largest) throw new DiskError('USAGE', `"${text}" is too large: the largest size is 2^63-1 bytes`);
  return bytes;
}

/**
 * A place on a disk: a size, or in hexadecimal with `0x`.
 *
 * @returns bytes: 0 … 2^63 - 1
 * @throws {DiskError} USAGE
 */
export function parseOffset(text: string): bigint {
  if (!/^0x[0-9a-f]{1,16}$/i.test(text)) return parseSize(text);
  return parseSize(BigInt(text).toString());
}

function parsePower(text: string): bigint | undefined {
  const found = /^2\^(\d{1,2})(?:([+-])(\d+))?$/.exec(text);
  if (found === null) return undefined;
  const [, exponent = '0', sign, rest = '0'] = found;
  const bytes = 2n ** BigInt(exponent) + (sign === '-' ? -BigInt(rest) : BigInt(rest));
  return bytes < 0n ? undefined : bytes;
}

function parseDecimal(text: string): bigint | undefined {
  const found = /^(\d+)(?:\.(\d{1,18}))?\s*(?:([KMGTPE])(iB|B)?|(B|s))?$/i.exec(text);
  if (found === null) return undefined;
  const [, whole = '0', fraction = '', prefix, suffix, unit] = found;
  if (fraction !== '' && prefix === undefined) return undefined;
  const base = suffix?.toUpperCase() === 'B' ? 1000n : 1024n;
  const factor = prefix === undefined ? 1n : base ** BigInt(prefixes.indexOf(prefix.toUpperCase()) + 1);
  const scale = 10n ** BigInt(fraction.length);
  return ((BigInt(whole + fraction) * factor) / scale) * (unit === 's' || unit === 'S' ? 512n : 1n);
}

/** A size in at most four characters and its letter, in powers of 1024: `0`, `512`, `1.3G`, `250M`, `7.0E`. */
export function formatSize(bytes: bigint): string {
  if (bytes < 0n) return `-${formatSize(-bytes)}`;
  if (bytes < 1024n) return bytes.toString();
  let power = 1;
  while (power < prefixes.length && bytes >= 1024n ** BigInt(power + 1)) power++;
  const tenths = (bytes * 10n + 1024n ** BigInt(power) / 2n) / 1024n ** BigInt(power);
  if (tenths >= 10240n && power < prefixes.length) return `1.0${prefixes[power]}`;
  const text = tenths < 100n ? `${tenths / 10n}.${tenths % 10n}` : ((tenths + 5n) / 10n).toString();
  return `${text}${prefixes[power - 1]}`;
}

const milliseconds: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, '': 1000 };

/**
 * A time: `10ms`, `60s`, `2m`, `1h`; without a unit, seconds.
 *
 * @returns milliseconds: 0 … 2^31 - 1 (the longest that a timer holds, 24 days)
 * @throws {DiskError} USAGE
 */
export function parseDuration(text: string): number {
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  const factor = milliseconds[unit];
  if (amount === undefined || factor === undefined) {
    throw new DiskError('USAGE', `"${text}" is no time: write it like 10ms, 60s, 2m or 1h`);
  }
  const time = Math.round(Number(amount) * factor);
  if (time > 2 ** 31 - 1) throw new DiskError('USAGE', `"${text}" is too long: the longest time is 24 days`);
  return time;
}

/** A time to the unit that matters: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function formatDuration(time: number): string {
  const seconds = time / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
