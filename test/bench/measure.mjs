// Runs whole commands in interleaved rounds and prints medians and ratios.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

process.env.PATH = [process.env.PATH, '/usr/sbin', '/sbin'].join(delimiter);

/** Whether a program is installed. */
export function has(program) {
  return process.env.PATH.split(delimiter).some((folder) => existsSync(join(folder, program)));
}

/** Runs a shell command that must succeed. */
export function sh(command) {
  const { status, stderr } = spawnSync('sh', ['-ec', command], {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (status !== 0) throw new Error(`${command}\nended with status ${status}: ${stderr}`);
}

/** Seconds and peak memory (MiB, where GNU time is installed) of a shell command. */
function timeOnce(command) {
  const gnuTime = existsSync('/usr/bin/time');
  const [program, ...args] = [...(gnuTime ? ['/usr/bin/time', '-f', 'peak %M'] : []), 'sh', '-ec', command];
  const start = performance.now();
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
  const seconds = (performance.now() - start) / 1000;
  if (status !== 0) throw new Error(`${command}\nended with status ${status}: ${stderr}`);
  const peak = /^peak (\d+)$/m.exec(stderr)?.[1];
  return { seconds, peak: peak === undefined ? undefined : Number(peak) / 1024 };
}

/**
 * Compares contenders, the first of which is ours.
 *
 * @param contenders name -> { prepare?(): void, command: string, figure?(): string }; a command may take turns only after
 * its own preparation, which is not timed
 */
export function compare(title, contenders, rounds = 5) {
  const results = new Map(Object.keys(contenders).map((name) => [name, { times: [], peaks: [], figure: '' }]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, { prepare, command, figure }] of Object.entries(contenders)) {
      prepare?.();
      const { seconds, peak } = timeOnce(command);
      const result = results.get(name);
      result.times.push(seconds);
      if (peak !== undefined) result.peaks.push(peak);
      if (figure !== undefined) result.figure = figure();
    }
  }
  console.log(`\n${title} (median of ${rounds})`);
  const ours = median([...results.values()][0].times);
  const width = Math.max(...[...results.keys()].map((name) => name.length));
  for (const [name, { times, peaks, figure }] of results) {
    const middle = median(times);
    const cells = [
      name.padEnd(width),
      `${middle.toFixed(2)} s`.padStart(9),
      `${(middle / ours).toFixed(2)} x`.padStart(8),
      `(${Math.min(...times).toFixed(2)}-${Math.max(...times).toFixed(2)})`.padEnd(14),
      peaks.length === 0 ? '' : `peak ${Math.round(Math.max(...peaks))} MiB`,
      figure,
    ];
    console.log(`  ${cells.join('  ').trimEnd()}`);
  }
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
