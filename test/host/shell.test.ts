import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { allProcesses, environmentOf, processStat } from '../../src/host/process-table.js';
import { type Shell, startShell } from '../../src/host/shell.js';
import { until } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { temporaryFolder } from '../support/temporary.js';

function started(command: string, env: Record<string, string> = {}): Shell {
  const shell = startShell(command, env);
  onTestFinished(async () => {
    shell.send('SIGKILL');
    await shell.ended;
  });
  return shell;
}

const names = (shell: Shell) => shell.running().map(({ name }) => name);
const sleeps = (shell: Shell, count: number) => () => names(shell).filter((name) => name === 'sleep').length === count;

test('the shell comes first, and every parent before its children', async () => {
  const shell = started('sh -c \'sh -c "sleep 1000; :"; :\'; :');
  await until(sleeps(shell, 1));
  expect(names(shell)).toEqual(['sh', 'sh', 'sh', 'sleep']);
  const running = shell.running().map(({ pid }) => pid);
  expect(running.map((pid) => processStat(pid)?.parent)).toEqual([process.pid, ...running.slice(0, -1)]);
});

test('whose parent has ended is still known, and so is whose environment was emptied', async () => {
  const shell = started('(sleep 1000 &); env -i sleep 1001; :');
  await until(sleeps(shell, 2));
  shell.send('SIGTERM');
  await until(() => shell.running().length === 0);
  expect(await shell.ended).toEqual({ status: undefined, signal: 'SIGTERM' });
});

test('two shell commands of one process are kept apart', async () => {
  const one = started('sleep 1000 & wait');
  const other = started('sleep 1000 & wait');
  await until(() => sleeps(one, 1)() && sleeps(other, 1)());
  one.send('SIGKILL');
  await until(() => one.running().length === 0);
  expect(names(other)).toEqual(['sh', 'sleep']);
});

needs({ programs: ['setsid'] })('who left the session is on its own', async () => {
  const shell = started('setsid sleep 1000 & sleep 1000; :', { APART: `${process.pid}` });
  const apart = () =>
    allProcesses().filter(
      ({ pid, session, name }) =>
        name === 'sleep' && session === pid && environmentOf(pid).includes(`APART=${process.pid}`),
    );
  onTestFinished(() => {
    for (const { pid } of apart()) process.kill(pid);
  });
  await until(() => sleeps(shell, 1)() && apart().length === 1);
  expect(names(shell)).toEqual(['sh', 'sleep']);
  shell.send('SIGKILL');
  await until(() => shell.running().length === 0);
  expect(apart()).toHaveLength(1);
});

test('SIGINT ends background processes too, which ignore it', async () => {
  const shell = started('sleep 1000 & wait');
  await until(sleeps(shell, 1));
  shell.send('SIGINT');
  await until(() => shell.running().length === 0);
  expect(await shell.ended).toEqual({ status: undefined, signal: 'SIGINT' });
});

test('it gets the variables that it is given besides our own', async () => {
  const file = join(await temporaryFolder(), 'out');
  const shell = started('echo "$uri|$HOME" >"$out"', { uri: 'nbd://localhost', out: file });
  expect(await shell.ended).toEqual({ status: 0, signal: undefined });
  expect(await readFile(file, 'utf8')).toBe(`nbd://localhost|${process.env.HOME}\n`);
  expect(shell.running()).toEqual([]);
});
