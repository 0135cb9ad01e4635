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
