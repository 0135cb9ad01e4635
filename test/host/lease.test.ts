import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { findOpeners, findWriters } from '../../src/host/lease.js';
import { temporaryFolder } from '../support/temporary.js';

async function opened(path: string, flags: string) {
  const handle = await open(path, flags);
  onTestFinished(() => handle.close().catch(() => undefined));
  return handle;
}

test('tells readers from writers, and both from nobody', async () => {
  const path = join(await temporaryFolder(), 'file');
  await (await open(path, 'w')).close();
  const own = await opened(path, 'r');
  expect(findWriters(own.fd, path)).toEqual({ found: 'none' });
  expect(findOpeners(own.fd, path)).toEqual({ found: 'none' });
  const reader = await opened(path, 'r');
  expect(findWriters(own.fd, path)).toEqual({ found: 'none' });
  expect(findOpeners(own.fd, path)).toEqual({ found: 'some' });
  await reader.close();
  await opened(path, 'r+');
  expect(findWriters(own.fd, path)).toEqual({ found: 'some' });
});

test('leaves no lease behind', async () => {
  const path = join(await temporaryFolder(), 'file');
  const own = await opened(path, 'w+');
  expect(findOpeners(own.fd, path)).toEqual({ found: 'none' });
  // With a lease still there this would wait for lease-break-time, 45 s.
  await (await opened(path, 'r')).close();
});

test('survives those who open the file at the very moment', async () => {
  const path = join(await temporaryFolder(), 'file');
  const own = await opened(path, 'w+');
  let going = true;
  const others = Promise.all(
    [1, 2].map(async () => {
      while (going) await (await open(path, 'r')).close();
    }),
  );
  const found = new Set<string>();
  for (let i = 0; i < 3000; i++) {
    found.add(findOpeners(own.fd, path).found);
    if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  going = false;
  await others;
  expect(found.has('unchecked')).toBe(false);
});

test('says that a character device cannot be checked', async () => {
  const own = await opened('/dev/null', 'r');
  expect(findWriters(own.fd, '/dev/null')).toMatchObject({ found: 'unchecked' });
});
