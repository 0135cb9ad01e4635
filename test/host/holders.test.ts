import { existsSync } from 'node:fs';
import { open, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { identify } from '../../src/host/file-identity.js';
import { findHolders } from '../../src/host/holders.js';
import { knownIdentity } from '../../src/host/known-identity.js';
import { hold } from '../support/hold.js';
import { nbdfuse } from '../support/nbdfuse.js';
import { needs } from '../support/needs.js';
import { served } from '../support/served.js';
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

test('knows a file by what stat calls it', async () => {
  for (const path of ['/dev/null', '/proc/self/exe', process.execPath, '/', '/dev/loop0']) {
    const stats = await stat(path, { bigint: true }).catch(() => undefined);
    if (stats !== undefined) expect(await knownIdentity(path)).toEqual(identify(stats));
  }
  await expect(knownIdentity('/nowhere')).rejects.toMatchObject({ facts: { errno: 'ENOENT' } });
});

needs({ programs: ['nbdfuse', 'fusermount3'], devices: ['/dev/fuse'] })(
  'does not wait for a filesystem that answers nobody',
  async () => {
    const { uri } = await served(['--memory', '1M']);
    const { file, pid } = await nbdfuse(uri);
    const path = join(await temporaryFolder(), 'file');
    await writeFile(path, '');
    const opened = `${path}.opened`;
    await hold('sh', ['-c', 'exec 3< "$0" && touch "$1" && exec sleep 60', file, opened], () => existsSync(opened));
    process.kill(pid, 'SIGSTOP');
    onTestFinished(() => void process.kill(pid, 'SIGCONT'));
    // What the kernel has been told of the file holds for a second: after that it would ask.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(await findHolders(identify(await stat(path, { bigint: true })), [])).toEqual([]);
  },
  20_000,
);
