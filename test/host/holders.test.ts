import { open, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { identify } from '../../src/host/file-identity.js';
import { findHolders } from '../../src/host/holders.js';
import { temporaryFolder } from '../support/temporary.js';

test('finds a process once, however often it has the file open, and whether it may write', async () => {
  const path = join(await temporaryFolder(), 'file');
  await writeFile(path, '');
  const file = identify(await stat(path, { bigint: true }));
  expect(await findHolders(file, [])).toEqual([]);
  const readers = [await open(path, 'r'), await open(path, 'r')];
  onTestFinished(async () => {
    for (const handle of readers) await handle.close();
  });
  const own = readers.map(({ fd }) => fd);
  expect(await findHolders(file, own)).toEqual([]);
  expect(await findHolders(file, own.slice(1))).toMatchObject([{ pid: process.pid, writable: false }]);
  const writer = await open(path, 'a');
  expect(await findHolders(file, own)).toMatchObject([{ pid: process.pid, writable: true }]);
  await writer.close();
});
