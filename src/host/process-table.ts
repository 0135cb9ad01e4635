import { readdirSync, readFileSync } from 'node:fs';

/** What /proc/PID/stat tells of a process that has not ended: proc(5). */
export interface ProcessStat {
  readonly pid: number;
  /** Of its program, at most 15 bytes. */
  readonly name: string;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** The foreground process group of its terminal; -1 without one. */
  readonly foreground: number;
  /** Clock ticks since boot. */
  readonly startTime: string;
}

/** Undefined: it is gone, or waits only for its parent to take notice. */
export function processStat(pid: number | 'self'): ProcessStat | undefined {
  const text = readProcess(pid, 'stat');
  // The second field is the program's name in parentheses, which may hold anything.
  const end = text.lastIndexOf(')');
  const [state = 'X', ...rest] = text.slice(end + 2).split(' ');
  if (end === -1 || state === 'Z' || state === 'X') return undefined;
  const [parent, group, session, , foreground] = rest.map(Number);
  return {
    pid: Number.parseInt(text, 10),
    name: text.slice(text.indexOf('(') + 1, end),
    parent: parent ?? 0,
    group: group ?? 0,
    session: session ?? 0,
    foreground: foreground ?? -1,
    startTime: rest[18] ?? '',
  };
}

/** All that run now, as far as we may see them, by ascending number. */
export function allProcesses(): ProcessStat[] {
  return processIds().flatMap((pid) => processStat(pid) ?? []);
}

/** The environment that a process was started with, `NAME=value` each ended by a NUL; empty where it is not shown to us. */
export function environmentOf(pid: number): string {
  return readProcess(pid, 'environ');
}

/** Whether a process ignores a signal, by its number. */
export function ignoresSignal(pid: number, signal: number): boolean {
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readProcess(pid, 'status'))?.[1] ?? '0';
  return ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

function processIds(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

function readProcess(pid: number | 'self', file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
