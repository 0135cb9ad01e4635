import { openSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DiskError } from '../../src/error/disk-error.js';
import { errnoMeaning, errnoName, errnoOf, systemError, wrapSystemError } from '../../src/host/errno.js';
import { callLater, tryCall } from '../../src/host/libc.js';

test.each([
  [2, 'ENOENT', 'no such file or directory'],
  [11, 'EAGAIN', 'resource temporarily unavailable'],
  [28, 'ENOSPC', 'no space left on device'],
  [95, 'EOPNOTSUPP', 'operation not supported'],
  [122, 'EDQUOT', 'disk quota exceeded'],
])('names error %d %s: %s', (number, name, meaning) => {
  expect(errnoName(number)).toBe(name);
  expect(errnoMeaning(name)).toBe(meaning);
});

test('falls back to what it was given', () => {
  expect(errnoName(4095)).toBe('errno 4095');
  expect(errnoMeaning('ESOMETHING')).toBe('ESOMETHING');
});

test.each([
  ['ENOENT', 'NOT_FOUND'],
  ['EOPNOTSUPP', 'UNSUPPORTED'],
  ['EBUSY', 'BUSY'],
  ['EROFS', 'READ_ONLY'],
  ['ENOSPC', 'IO'],
])('gives %s the code %s', (errno, code) => {
  expect(systemError('open a.img', errno)).toMatchObject({ code, errno });
});

test('wraps what Node throws once, and leaves the rest alone', () => {
  const bug = new TypeError('a bug');
  const ours = new DiskError('IO', 'm');
  expect(wrapSystemError('x', bug)).toBe(bug);
  expect(wrapSystemError('x', ours)).toBe(ours);
  expect(errnoOf(new RangeError('m'))).toBeUndefined();
  try {
    openSync('/nonexistent/a.img', 'r');
    expect.unreachable();
  } catch (error) {
    expect(wrapSystemError('open a.img', error)).toMatchObject({
      code: 'NOT_FOUND',
      errno: 'ENOENT',
      message: 'open a.img: no such file or directory (ENOENT)',
      cause: error,
    });
  }
});

test('gives each of many calls at once its own errno', async () => {
  const outcomes = await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      callLater('fallocate', 'x', i % 2 === 0 ? -1 : 0, i % 2 === 0 ? 0 : -1, 0n, 1n).catch(errnoOf),
    ),
  );
  expect(outcomes.filter((_, i) => i % 2 === 0).every((errno) => errno === 'EBADF')).toBe(true);
  expect(outcomes.filter((_, i) => i % 2 === 1).some((errno) => errno === 'EBADF')).toBe(false);
  expect(tryCall('lseek', -1, 0n, 0)).toBe(-9);
});
