import { call } from './libc.js';

/** When a file was last read and written, in nanoseconds since 1970. */
export interface FileTimes {
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
}

const second = 1_000_000_000n;

/** Sets a file's times to the nanosecond, which Node's own call rounds off. */
export function setTimes(fd: number, times: FileTimes, what: string): void {
  call('futimens', `of ${what}`, fd, timespecs(times));
}

/** Two `struct timespec`: last read, last written. */
export function timespecs({ atimeNs, mtimeNs }: FileTimes): BigInt64Array {
  const parts = [atimeNs, mtimeNs].flatMap((ns) => {
    const rest = ((ns % second) + second) % second;
    return [(ns - rest) / second, rest];
  });
  return BigInt64Array.from(parts);
}
