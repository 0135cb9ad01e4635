import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { callLater } from '../../src/host/libc.js';
import { temporaryFolder } from '../support/temporary.js';

const page = 4096n;

test('takes more calls at once than koffi does, and makes every one of them', async () => {
  await using file = await open(join(await temporaryFolder(), 'file'), 'w');
  const bytes = Buffer.alloc(Number(page), 1);
  const calls = Array.from({ length: 1000 }, (_, i) =>
    callLater('pwrite', 'of a file', file.fd, bytes, page, BigInt(i) * page),
  );
  expect(new Set(await Promise.all(calls))).toEqual(new Set([Number(page)]));
  expect((await file.stat()).size).toBe(1000 * Number(page));
});

test('tells each failure by the errno of its own call', async () => {
  await using file = await open(join(await temporaryFolder(), 'file'), 'w');
  const calls = Array.from({ length: 300 }, (_, i) =>
    i % 2 === 0 ? callLater('syncfs', 'of nothing', -1) : callLater('ftruncate', 'of a file', file.fd, -1n),
  );
  const errnos = (await Promise.allSettled(calls)).map((result) => ('reason' in result ? result.reason.errno : 'none'));
  expect(errnos).toEqual(Array.from({ length: 300 }, (_, i) => (i % 2 === 0 ? 'EBADF' : 'EINVAL')));
});
