import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { guestFolder, needs, type Program, packages } from './support/needs.js';
import { attempt, run } from './support/run.js';
import { temporaryFolder } from './support/temporary.js';

const script = new URL('./install-peers.sh', import.meta.url).pathname;

test('installs exactly the packages of the programs that tests may need', async () => {
  const listed = (await run(script, ['--list'])).split('\n');
  expect(listed).toEqual([...new Set(Object.values(packages))].sort());
});

test('unpacks what a guest is booted from where tests look for it', async () => {
  expect(await run(script, ['--guest'])).toBe(guestFolder);
});

needs({ programs: Object.keys(packages).filter((name): name is Program => name in packages), guest: true })(
  'asks no network and says nothing when every package is there',
  async () => {
    const folder = await temporaryFolder();
    // Would answer instead of apt-get, were it asked.
    await writeFile(join(folder, 'apt-get'), '#!/bin/sh\nexit 99\n', { mode: 0o755 });
    const { status, stdout, stderr } = await attempt(script, [], {
      env: { CI: 'true', PATH: `${folder}:${process.env.PATH}` },
    });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
  },
);

test('continuous integration runs exactly what the README says', async () => {
  const lines = (await readFile(new URL('../.ci/run', import.meta.url), 'utf8')).trim().split('\n');
  expect(lines).toEqual(['#!/bin/sh', 'set -e', 'npm ci && npm run test:all']);
});
