import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { isRangeLocked, lockRange } from '../../src/host/record-lock.js';
import { hold } from '../support/hold.js';
import { needs } from '../support/needs.js';
import { temporaryFolder } from '../support/temporary.js';

async function twice(): Promise<[number, number, string]> {
  const path = join(await temporaryFolder(), 'file');
  const handles = [await open(path, 'w+'), await open(path, 'r+')];
  onTestFinished(async () => {
    for (const handle of handles) await handle.close();
  });
  return [handles[0]?.fd ?? -1, handles[1]?.fd ?? -1, path];
}

test('lets read locks share a byte, and a write lock nothing', async () => {
  const [first, second] = await twice();
  expect(lockRange(first, 'read', 100n, 1n, 'file')).toBe(true);
  expect(lockRange(second, 'read', 100n, 1n, 'file')).toBe(true);
  expect(lockRange(second, 'write', 100n, 1n, 'file')).toBe(false);
  expect(lockRange(second, 'write', 101n, 1n, 'file')).toBe(true);
});

test('sees the locks of other descriptions alone, wherever they lie in the range', async () => {
  const [first, second] = await twice();
  lockRange(first, 'read', 2n ** 62n, 1n, 'file');
  expect(isRangeLocked(second, 'write', 0n, 0n, 'file')).toBe(true);
  expect(isRangeLocked(second, 'read', 0n, 0n, 'file')).toBe(false);
  expect(isRangeLocked(first, 'write', 0n, 0n, 'file')).toBe(false);
  expect(isRangeLocked(second, 'write', 0n, 2n ** 62n, 'file')).toBe(false);
});

needs({ programs: ['python3'] })('sees the lock that a process takes in the old way, as virtlockd does', async () => {
  const [, second, path] = await twice();
  const script = `
import fcntl, sys
f = open(sys.argv[1], 'r+')
fcntl.lockf(f, fcntl.LOCK_EX, 1, 0)
sys.stdin.read()
`;
  const lines = async () => (await readFile('/proc/locks', 'utf8')).includes(`:${(await stat(path)).ino} `);
  const { end } = await hold('python3', ['-c', script, path], lines);
  expect(isRangeLocked(second, 'read', 0n, 0n, 'file')).toBe(true);
  await end();
  expect(isRangeLocked(second, 'read', 0n, 0n, 'file')).toBe(false);
});

test('says in words that a descriptor is bad', () => {
  expect(() => lockRange(-1, 'read', 0n, 1n, 'a.img')).toThrow('lock a.img: bad file descriptor (EBADF)');
});
