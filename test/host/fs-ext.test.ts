import { closeSync, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { flock, seek, whence } from '../../src/host/fs-ext.js';
import { call } from '../../src/host/libc.js';
import { run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const built = new URL('../../dist/src/', import.meta.url).href;

/** In a process of its own, since the choice is made once, when the module is loaded. */
async function answers(path: string, withoutFsExt: '0' | '1'): Promise<{ usesFsExt: boolean; given: unknown[] }> {
  const script = `
    import { openSync } from 'node:fs';
    const { flock, seek, usesFsExt } = await import('${built}host/fs-ext.js');
    const { call } = await import('${built}host/libc.js');
    const fd = openSync(process.argv[1], 'r+');
    const given = [];
    const ask = (question) => {
      try {
        given.push(String(question()));
      } catch (error) {
        given.push([error.code, error.errno, error.message]);
      }
    };
    for (let at = 0; at <= 41; at++) for (const from of [3, 4]) ask(() => seek(fd, BigInt(at << 20), from, 'a'));
    for (const from of [0, 2]) ask(() => seek(fd, 5n, from, 'a'));
    ask(() => seek(fd, -1n, 0, 'a'));
    ask(() => seek(-1, 0n, 3, 'a'));
    const huge = Number(call('memfdCreate', '', 'x', 1));
    call('ftruncate', '', huge, 2n ** 63n - 1n);
    for (const at of [2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 62n]) {
      for (const from of [0, 3, 4]) ask(() => seek(huge, at, from, 'a'));
    }
    const other = openSync(process.argv[1], 'r+');
    for (const [who, how] of [[fd, 'exclusive'], [other, 'shared'], [fd, 'shared'], [other, 'shared'], [fd, 'exclusive'], [fd, 'unlock'], [other, 'exclusive'], [-1, 'shared']]) {
      ask(() => flock(who, how, 'a'));
    }
    console.log(JSON.stringify({ usesFsExt, given }));
  `;
  const output = await run(process.execPath, ['--input-type=module', '--eval', script, path], {
    env: { DISKTOOL_NO_FS_EXT: withoutFsExt },
  });
  return JSON.parse(output);
}

test('gives the same answers by fs-ext and by koffi', async () => {
  const path = join(await temporaryFolder(), 'sparse');
  await using handle = await open(path, 'w+');
  await handle.truncate(40 << 20);
  for (const at of [0, 3 << 20, (7 << 20) + 5, 39 << 20]) await handle.write(Buffer.alloc(5000, 1), 0, 5000, at);
  await handle.sync();
  // One after the other: they lock the same file.
  const either = await answers(path, '0');
  const koffi = await answers(path, '1');
  expect(koffi.usesFsExt).toBe(false);
  expect(either.given).toEqual(koffi.given);
  expect(koffi.given.slice(0, 2)).toEqual(['0', '8192']);
  expect(koffi.given.slice(-8)).toEqual([
    'true',
    'false',
    'true',
    'true',
    'false',
    'true',
    'true',
    ['IO', 'EBADF', 'flock a: bad file descriptor (EBADF)'],
  ]);
});

test('finds the data and the holes past 2^53 exactly, also from below it', () => {
  const fd = Number(call('memfdCreate', 'for a test', 'test', 1));
  onTestFinished(() => closeSync(fd));
  call('ftruncate', 'of a test', fd, 2n ** 63n - 1n);
  const at = 2n ** 53n + 4096n;
  call('pwrite', 'to a test', fd, Uint8Array.of(1), 1, at);
  expect(seek(fd, 0n, whence.data, 'memory')).toBe(at);
  expect(seek(fd, at + 1n, whence.data, 'memory')).toBe(at + 1n);
  expect(seek(fd, at, whence.hole, 'memory')).toBe(at + 4096n);
  expect(seek(fd, at + 4096n, whence.data, 'memory')).toBeUndefined();
  expect(seek(fd, 0n, whence.end, 'memory')).toBe(2n ** 63n - 1n);
});

test('says who excludes whom', async () => {
  const path = join(await temporaryFolder(), 'locked');
  await using first = await open(path, 'w');
  const second = openSync(path, 'r');
  onTestFinished(() => closeSync(second));
  expect(flock(first.fd, 'exclusive', path)).toBe(true);
  expect(flock(second, 'shared', path)).toBe(false);
  expect(flock(first.fd, 'shared', path)).toBe(true);
  expect(flock(second, 'shared', path)).toBe(true);
  expect(flock(first.fd, 'exclusive', path)).toBe(false);
  // Linux lets go of the old lock before it asks for the new one.
  expect(flock(second, 'exclusive', path)).toBe(true);
});
