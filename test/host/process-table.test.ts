import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { symlink } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { allProcesses, environmentOf, ignoresSignal, processStat } from '../../src/host/process-table.js';
import { until } from '../support/mounted.js';
import { temporaryFolder } from '../support/temporary.js';

/** Runs a program until the test ends. */
async function started(program: string, args: readonly string[], options: object = {}): Promise<number> {
  const child = spawn(program, args, { stdio: 'ignore', ...options });
  await once(child, 'spawn');
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return child.pid ?? 0;
}

test('a process is told by its number, its parent and its session, whatever its program is called', async () => {
  const program = join(await temporaryFolder(), 'a) S 1 (b');
  await symlink('/bin/sleep', program);
  const pid = await started(program, ['1000']);
  const self = processStat('self');
  expect(self).toEqual(processStat(process.pid));
  expect(processStat(pid)).toMatchObject({ pid, name: 'a) S 1 (b', parent: process.pid, session: self?.session });
  expect(allProcesses()).toContainEqual(processStat(pid));
});

test('a process that leads a session leads its group, and has no terminal', async () => {
  const pid = await started('/bin/sleep', ['1000'], { detached: true });
  expect(processStat(pid)).toMatchObject({ group: pid, session: pid, foreground: -1 });
});

test('a process that has ended is gone before its parent takes notice', async () => {
  // The shell becomes a program that takes no notice of its child.
  const parent = await started('/bin/sh', ['-c', 'sleep 0 & exec sleep 1000']);
  await until(() => processStat(parent)?.name === 'sleep');
  await until(() => !allProcesses().some((process) => process.parent === parent));
  expect(processStat(parent)).toBeDefined();
});

test('of a process that is not there nothing is told', () => {
  expect(processStat(2 ** 30)).toBeUndefined();
  expect(environmentOf(2 ** 30)).toBe('');
  expect(ignoresSignal(2 ** 30, constants.signals.SIGINT)).toBe(false);
});

test('its environment, and what it ignores, are seen', async () => {
  const pid = await started('/bin/sh', ['-c', 'trap "" INT; exec sleep 1000'], { env: { NAME: 'a value' } });
  await until(() => processStat(pid)?.name === 'sleep');
  expect(environmentOf(pid).split('\0')).toContain('NAME=a value');
  expect(ignoresSignal(pid, constants.signals.SIGINT)).toBe(true);
  expect(ignoresSignal(pid, constants.signals.SIGTERM)).toBe(false);
});
