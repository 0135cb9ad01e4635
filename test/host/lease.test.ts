import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { findOpeners, findWriters } from '../../src/host/lease.js';
import { hold } from '../support/hold.js';
import { needs } from '../support/needs.js';
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

needs({ programs: ['python3'] })('survives a process that opens the file while the lease is held', async () => {
  const path = join(await temporaryFolder(), 'file');
  const own = await opened(path, 'w+');
  const script = 'import os, sys\nwhile True: os.close(os.open(sys.argv[1], os.O_RDONLY))';
  const { end } = await hold('python3', ['-c', script, path], () => findOpeners(own.fd, path).found === 'some');
  // SIGIO, the kernel's usual word to the holder of a lease, would end this process.
  const found = new Set<string>();
  for (let i = 0; i < 20_000; i++) found.add(findOpeners(own.fd, path).found);
  await end();
  expect([...found].sort()).toEqual(['none', 'some']);
});

test('says that a character device cannot be checked', async () => {
  const own = await opened('/dev/null', 'r');
  expect(findWriters(own.fd, '/dev/null')).toMatchObject({ found: 'unchecked' });
});
