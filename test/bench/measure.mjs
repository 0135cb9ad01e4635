// Runs whole commands in interleaved rounds and prints medians and ratios.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.env.PATH = [process.env.PATH, '/usr/sbin', '/sbin'].join(delimiter);

/** The program and its first argument that start the built disktool. */
export const disktoolCommand = [process.execPath, fileURLToPath(new URL('../../bin/run.js', import.meta.url))];
export const rounds = Number(process.env.BENCH_ROUNDS ?? 5);

/** A folder that is gone when the benchmark ends, however it ends. Prints what machine this is. */
export function benchFolder() {
  const folder = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'disktool-bench-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
  const [cpu] = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  console.log(`${cpu?.model ?? 'unknown processor'}, ${cpus().length} cores, ${memory} GiB, Node ${process.version}`);
  return folder;
}

/** The suites that the command line names, or all. */
export function wantedSuites(suites) {
  const names = process.argv.slice(2);
  const unknown = names.find((name) => !Object.hasOwn(suites, name));
  if (unknown !== undefined) throw new Error(`no suite is named ${unknown}: ${Object.keys(suites).join(', ')}`);
  return names.length === 0 ? Object.keys(suites) : names;
}

/** Whether a program is installed. */
export function has(program) {
  return process.env.PATH.split(delimiter).some((folder) => existsSync(join(folder, program)));
}

/** Whether guestfish is installed and its appliance starts, for which it needs a kernel; which it builds before, once. */
export function hasGuestfish() {
  if (!has('guestfish')) return false;
  const { status, stderr } = spawnSync('guestfish', ['--ro', '--add', '/dev/null', 'run'], { encoding: 'utf8' });
  if (status !== 0) console.log(`guestfish is left out: ${stderr.trim().split('\n')[0]}`);
  return status === 0;
}

/** Runs a shell command that must succeed, and returns what it printed. */
export function sh(command) {
  return checked(command, ['sh', '-ec', command]).stdout;
}

function checked(command, [program, ...args]) {
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 << 20,
  });
  if (status !== 0) throw new Error(`${command}\nended with status ${status}: ${stderr}`);
  return { stdout, stderr };
}

/** Seconds, output and peak memory (MiB, where GNU time is installed) of a shell command. */
function runOnce(command) {
  const gnuTime = existsSync('/usr/bin/time') ? ['/usr/bin/time', '-f', 'peak %M'] : [];
  const start = performance.now();
  const { stdout, stderr } = checked(command, [...gnuTime, 'sh', '-ec', command]);
  const seconds = (performance.now() - start) / 1000;
  const peak = /^peak (\d+)$/m.exec(stderr)?.[1];
  return { seconds, stdout, peak: peak === undefined ? undefined : Number(peak) / 1024 };
}

/** How long the whole command took. */
export const seconds = {
  of: (run) => run.seconds,
  show: (value) => `${value.toFixed(2)} s`,
  /** How many times as fast the first is. */
  ratio: (ours, theirs) => theirs / ours,
};

/** Operations a second, as fio's JSON tells them. */
export const iops = {
  of: ({ stdout }) => {
    const [{ read, write, error }] = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs;
    if (error !== 0) throw new Error(`fio failed with errno ${error}`);
    return read.iops + write.iops;
  },
  show: (value) => `${Math.round(value)} /s`,
  ratio: (ours, theirs) => ours / theirs,
};

/** Bytes a second, likewise. */
export const bandwidth = {
  of: ({ stdout }) => {
    const [{ read, write, error }] = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs;
    if (error !== 0) throw new Error(`fio failed with errno ${error}`);
    return read.bw_bytes + write.bw_bytes;
  },
  show: (value) => `${(value / 1e9).toFixed(2)} GB/s`,
  ratio: (ours, theirs) => ours / theirs,
};

/**
 * Compares contenders, the first of which is ours.
 *
 * @param contenders name -> { prepare?(): void, command: string, figure?(): string, goal?: number }; a command may take
 * turns only after its own preparation, which is not timed; `goal`: how many times as fast as this one we want to be
 * @param options `unit`: what is read off a command that has run; `peaks`: whether its peak memory says anything
 */
export function compare(title, contenders, { unit = seconds, peaks: showPeaks = true } = {}) {
  const results = new Map(Object.keys(contenders).map((name) => [name, { values: [], peaks: [], figure: '' }]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, { prepare, command, figure }] of Object.entries(contenders)) {
      prepare?.();
      const run = runOnce(command);
      const result = results.get(name);
      result.values.push(unit.of(run));
      if (run.peak !== undefined && showPeaks) result.peaks.push(run.peak);
      if (figure !== undefined) result.figure = figure();
    }
  }
  console.log(`\n${title} (median of ${rounds})`);
  const ours = median([...results.values()][0].values);
  const width = Math.max(...[...results.keys()].map((name) => name.length));
  for (const [name, { values, peaks, figure }] of results) {
    const middle = median(values);
    const ratio = unit.ratio(ours, middle);
    const { goal } = contenders[name];
    const cells = [
      name.padEnd(width),
      unit.show(middle).padStart(10),
      `${ratio.toFixed(2)} x`.padStart(8),
      `(${unit.show(Math.min(...values))} to ${unit.show(Math.max(...values))})`.padEnd(22),
      peaks.length === 0 ? '' : `peak ${Math.round(Math.max(...peaks))} MiB`,
      goal === undefined ? '' : `goal ${goal.toFixed(1)} x: ${ratio >= goal ? 'met' : 'missed'}`,
      figure,
    ];
    console.log(
      `  ${cells
        .filter((cell) => cell !== '')
        .join('  ')
        .trimEnd()}`,
    );
  }
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
