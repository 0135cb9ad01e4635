import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { allProcesses, environmentOf, type ProcessStat } from '../../../src/host/process-table.js';
import { until } from '../../support/mounted.js';
import { needs } from '../../support/needs.js';
import { disktoolPath } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

interface Run {
  readonly child: ChildProcess;
  /** What it has printed until now. */
  output(): string;
  /** Waits until it has printed this. */
  prints(text: string): Promise<void>;
  /** Its exit status, once disktool has ended. */
  readonly status: Promise<number | null>;
  /** The processes that it and its command started, and that still run. */
  left(): ProcessStat[];
}

function start(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Run {
  const mark = `DISKTOOL_TEST=${randomUUID()}`;
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...env, DISKTOOL_TEST: mark.slice('DISKTOOL_TEST='.length) },
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const left = () => allProcesses().filter(({ pid }) => environmentOf(pid).includes(mark));
  onTestFinished(() => {
    for (const { pid } of left()) process.kill(pid, 'SIGKILL');
  });
  return {
    child,
    output: () => output,
    prints: (text) => until(() => output.includes(text)),
    // 'close' would wait for whoever is left with our pipe.
    status: once(child, 'exit').then(([status]) => (typeof status === 'number' ? status : null)),
    left,
  };
}

const serving = (command: string, source: readonly string[] = ['--memory', '1M'], env: NodeJS.ProcessEnv = {}): Run =>
  start(process.execPath, [disktoolPath, 'serve', ...source, '--run', command], env);

const sleeps = (run: Run) => run.left().filter(({ name }) => name === 'sleep');

describe.each([
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const)('%s to disktool ends', (signal, status) => {
  test.each([
    ['the whole script: the next command never starts', 1, 'echo started; sleep 1000; echo next'],
    ['a pipeline', 1, '{ echo started; sleep 1000; } | cat; echo next'],
    ['grandchildren, in the background too', 1, `sh -c 'sleep 1000 & echo started; wait'; echo next`],
    ['who has lost its parent', 2, '(sleep 1000 &); echo started; sleep 1000; echo next'],
  ])('%s', async (_, count, command) => {
    const run = serving(command);
    await run.prints('started');
    await until(() => sleeps(run).length === count);
    run.child.kill(signal);
    expect(await run.status).toBe(status);
    expect(run.left()).toEqual([]);
    expect(run.output()).toBe('started\n');
  });
});

test('SIGHUP to disktool reaches the command', async () => {
  const run = serving(`trap 'echo told' HUP; echo started; sleep 1000; exit 9`);
  await run.prints('started');
  await until(() => sleeps(run).length === 1);
  run.child.kill('SIGHUP');
  expect(await run.status).toBe(9);
  expect(run.output()).toBe('started\ntold\n');
});

const flushing = needs({ programs: ['qemu-io'] });
const flush = `qemu-io -f raw -c "write -P 7 0 4096" "$uri"`;

async function fileToFlush(): Promise<{ path: string; source: string[] }> {
  const path = join(await temporaryFolder(), 'disk');
  await writeFile(path, Buffer.alloc(1 << 20));
  return { path, source: ['--file', path] };
}

flushing('a trap that flushes through the export finds it, and the status is its own', async () => {
  const { path, source } = await fileToFlush();
  const run = serving(`trap '${flush}; exit 3' TERM; echo started; while :; do sleep 1000; done`, source);
  await run.prints('started');
  run.child.kill('SIGTERM');
  expect(await run.status).toBe(3);
  expect((await readFile(path)).subarray(0, 4096)).toEqual(Buffer.alloc(4096, 7));
});

flushing('the export outlives the shell while a process of its own flushes', async () => {
  const { path, source } = await fileToFlush();
  const flusher = `trap 'sleep 1; ${flush}; exit' TERM; echo started; while :; do sleep 1000; done`;
  const run = serving('sh -c "$FLUSHER"; echo next', source, { FLUSHER: flusher });
  await run.prints('started');
  run.child.kill('SIGTERM');
  expect(await run.status).toBe(143);
  expect((await readFile(path)).subarray(0, 4096)).toEqual(Buffer.alloc(4096, 7));
  expect(run.left()).toEqual([]);
  expect(run.output()).not.toContain('next');
});

needs({ slow: true })('who does not listen is killed in the end', async () => {
  const run = serving(`trap '' TERM; echo started; while :; do sleep 1000; done`);
  await run.prints('started');
  run.child.kill('SIGTERM');
  expect(await run.status).toBe(137);
  expect(run.left()).toEqual([]);
});

test('when a signal ends the shell alone, what it leaves is ended', async () => {
  const run = serving('sleep 1000 & sleep 1001 & kill -KILL $$');
  expect(await run.status).toBe(137);
  expect(run.left()).toEqual([]);
});

test('what the command leaves running in good order is left alone', async () => {
  const run = serving('sleep 1000 & exit 4');
  expect(await run.status).toBe(4);
  expect(run.left().map(({ name }) => name)).toEqual(['sleep']);
});

needs({ programs: ['setsid'] })('what has a session of its own is neither signalled nor waited for', async () => {
  const run = serving('setsid sleep 1000 & echo started; sleep 1001; echo next');
  await until(() => sleeps(run).length === 2);
  run.child.kill('SIGTERM');
  expect(await run.status).toBe(143);
  expect(run.left().map(({ pid, session, name }) => [name, session === pid])).toEqual([['sleep', true]]);
});

describe('in a terminal', () => {
  const it = needs({ programs: ['script'] });
  const onTerminal = async (command: string): Promise<Run & { type(text: string): void; pid(): Promise<number> }> => {
    const pidFile = join(await temporaryFolder(), 'pid');
    const words = '"$NODE" "$DISKTOOL" serve --memory 1M --pid-file "$PID_FILE" --run "$COMMAND"';
    const run = start('script', ['--quiet', '--return', '--command', `exec ${words}`, '/dev/null'], {
      SHELL: '/bin/sh',
      NODE: process.execPath,
      DISKTOOL: disktoolPath,
      PID_FILE: pidFile,
      COMMAND: command,
    });
    return {
      ...run,
      type: (text) => void run.child.stdin?.write(text),
      pid: async () => Number(await readFile(pidFile, 'utf8')),
    };
  };
  const prompt = `trap 'echo "interrupt ed"' INT; echo start ed; while ! read line; do :; done; echo "got $line"`;

  it('a command that goes on after a Ctrl-C, which it gets once, is served on', async () => {
    const run = await onTerminal(`${prompt}; read line; exit 6`);
    await run.prints('start ed');
    run.type('\x03');
    await run.prints('interrupt ed');
    run.type('word\n');
    await run.prints('got word');
    run.type('\n');
    expect(await run.status).toBe(6);
    expect(run.output().split('interrupt ed')).toHaveLength(2);
  });

  it('SIGTERM still ends it after a Ctrl-C that it survived', async () => {
    const run = await onTerminal(prompt);
    await run.prints('start ed');
    run.type('\x03');
    await run.prints('interrupt ed');
    process.kill(await run.pid(), 'SIGTERM');
    expect(await run.status).toBe(143);
    expect(run.left()).toEqual([]);
  });

  it('Ctrl-C ends a command that does not mind it, and what it leaves', async () => {
    const run = await onTerminal('sleep 1000 & echo start ed; sleep 1001; echo next');
    await run.prints('start ed');
    await until(() => sleeps(run).length === 2);
    run.type('\x03');
    expect(await run.status).toBe(130);
    expect(run.left()).toEqual([]);
    expect(run.output()).not.toContain('next');
  });

  it('an interactive shell reads the terminal, runs jobs, and gives its status', async () => {
    const run = await onTerminal('exec sh -i');
    run.type('sleep 0.1; echo $((40 + 2))\n');
    await run.prints('42');
    run.type('exit 7\n');
    expect(await run.status).toBe(7);
    expect(run.left()).toEqual([]);
  });
});
