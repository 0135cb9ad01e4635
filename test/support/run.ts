import { pathToFileURL } from 'node:url';
import { format } from 'node:util';
import { execa, type Options } from 'execa';
import './needs.js';

export interface Outcome {
  readonly status: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program of somebody else's and fails when it does. */
export async function run(program: string, args: readonly string[], options: Options = {}): Promise<string> {
  const { stdout } = await execa(program, args, { stdin: 'ignore', ...options, encoding: 'utf8', lines: false });
  return typeof stdout === 'string' ? stdout : '';
}

/** Runs a program whose failure is an answer. */
export async function attempt(program: string, args: readonly string[], options: Options = {}): Promise<Outcome> {
  const result = await execa(program, args, {
    stdin: 'ignore',
    ...options,
    encoding: 'utf8',
    lines: false,
    reject: false,
  });
  return {
    status: result.exitCode,
    signal: result.signal,
    stdout: typeof result.stdout === 'string' ? result.stdout : '',
    stderr: typeof result.stderr === 'string' ? result.stderr : '',
  };
}

/** The built program, as a user starts it: `npm test` builds it first. */
export const disktoolPath: string = new URL('../../bin/run.js', import.meta.url).pathname;

/** Runs disktool; its failure is an answer. */
export function disktool(args: readonly string[], options: Options = {}): Promise<Outcome> {
  return attempt(process.execPath, [disktoolPath, ...args], options);
}

/** Loaded once; oclif itself loads the commands, from dist/ as {@link disktool} does. */
let program: Promise<{ run: (from: string) => Promise<void> }> | undefined;
let running = false;

/**
 * Runs disktool in this process: as {@link disktool}, in a fraction of the time that a process takes to start. For what it
 * says and does; not for signals, for commands that share its terminal, nor for bytes that go to standard output past Node.
 */
export async function disktoolHere(args: readonly string[]): Promise<Outcome> {
  if (running) throw new Error('one after another: there is one standard output');
  running = true;
  program ??= import('../../dist/src/cli/run.js');
  const { argv, exitCode } = process;
  const { NODE_ENV } = process.env;
  // As users have it: under "test", which vitest sets, oclif has warnings for its own developers.
  delete process.env.NODE_ENV;
  const [stdout, stderr] = [captured('stdout', 'log'), captured('stderr', 'error')];
  process.argv = [process.execPath, disktoolPath, ...args];
  process.exitCode = undefined;
  try {
    await (await program).run(pathToFileURL(disktoolPath).href);
    return { status: Number(process.exitCode ?? 0), signal: undefined, stdout: stdout.text(), stderr: stderr.text() };
  } finally {
    stdout.release();
    stderr.release();
    process.argv = argv;
    process.exitCode = exitCode;
    if (NODE_ENV !== undefined) process.env.NODE_ENV = NODE_ENV;
    running = false;
  }
}

/** Keeps what is written to a stream from now on, by the console too, which vitest has for itself. */
function captured(name: 'stdout' | 'stderr', method: 'log' | 'error'): { text: () => string; release: () => void } {
  const written: string[] = [];
  const stream = process[name];
  const { write } = stream;
  const output = console;
  const print = output[method];
  stream.write = (chunk: string | Uint8Array, ...rest: unknown[]) => {
    written.push(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString());
    for (const callback of rest) if (typeof callback === 'function') callback();
    return true;
  };
  output[method] = (...values: unknown[]) => void written.push(`${format(...values)}\n`);
  return {
    // As execa has it: without the end of the last line.
    text: () => written.join('').replace(/\n$/, ''),
    release: () => {
      stream.write = write;
      output[method] = print;
    },
  };
}
