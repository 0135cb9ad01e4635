import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findProgram, requireProgram, runProgram, startCommand } from '../../src/host/process.js';
import { needs } from '../support/needs.js';
import { temporaryFolder } from '../support/temporary.js';

const sbin = needs({ programs: ['fsfreeze'] });

describe('findProgram', () => {
  const { PATH } = process.env;
  beforeEach(() => {
    process.env.PATH = '/usr/bin:/bin';
  });
  afterEach(() => {
    process.env.PATH = PATH;
  });

  sbin('finds what only administrators have on their PATH', () => {
    expect(findProgram('fsfreeze')).toMatch(/\/sbin\/fsfreeze$/);
  });

  test('passes over a file that is not executable, and a folder', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'program'), '');
    process.env.PATH = `${folder}:/usr/bin:/bin`;
    expect(findProgram('program')).toBeUndefined();
    await chmod(join(folder, 'program'), 0o755);
    expect(findProgram('program')).toBe(join(folder, 'program'));
    expect(findProgram(folder)).toBeUndefined();
  });

  test('never looks in the working directory', () => {
    process.env.PATH = ':.:';
    expect(findProgram('package.json')).toBeUndefined();
  });

  test('says what to do about a program that is not there', () => {
    expect(() => requireProgram('no-such-program', 'install it')).toThrow(
      'no-such-program: no such program: install it',
    );
  });
});

describe('runProgram', () => {
  test('answers with the status, the signal and both streams, in the C locale', async () => {
    const script = 'echo $LC_ALL; echo err >&2; exit 3';
    expect(await runProgram('/bin/sh', ['-c', script])).toEqual({
      status: 3,
      signal: undefined,
      stdout: 'C',
      stderr: 'err',
    });
    expect(await runProgram('/bin/sh', ['-c', 'kill -9 $$'])).toMatchObject({ status: undefined, signal: 'SIGKILL' });
  });

  test('says that a program could not be started', async () => {
    await expect(runProgram('/no/such/program', [])).rejects.toMatchObject({ code: 'NOT_FOUND', errno: 'ENOENT' });
  });

  test('ends the program when it is cancelled', async () => {
    const stop = new AbortController();
    const running = runProgram('/bin/sleep', ['60'], { signal: stop.signal });
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

test('a command gets a process group of its own, and its signals reach all of it', async () => {
  const command = startCommand(['sh', '-c', 'sleep 60 & wait']);
  command.send('SIGKILL');
  expect(await command.ended).toEqual({ status: undefined, signal: 'SIGKILL' });
  command.send('SIGKILL');
});
