import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FreezeHooks, findHooks } from '../../src/host/freeze-hooks.js';
import { temporaryFolder } from '../support/temporary.js';

const never = new AbortController().signal;

/** Hooks that write their name and argument to a file; `body` is what they do then. */
async function hooksIn(
  bodies: Readonly<Record<string, string>>,
): Promise<{ folder: string; told: () => Promise<string[]> }> {
  const folder = await temporaryFolder();
  const log = join(await temporaryFolder(), 'log');
  await writeFile(log, '');
  for (const [name, body] of Object.entries(bodies)) {
    await writeFile(join(folder, name), `#!/bin/sh\necho "${name} $1" >> ${log}\n${body}\n`, { mode: 0o755 });
  }
  return { folder, told: async () => (await readFile(log, 'utf8')).split('\n').filter((line) => line !== '') };
}

test('executables alone are hooks, by the bytes of their names, without what editors and packages leave', async () => {
  const { folder } = await hooksIn({
    b: '',
    a: '',
    B: '',
    '10-x': '',
    '.hidden': '',
    'a~': '',
    'a.bak': '',
    'a.dpkg-old': '',
  });
  await writeFile(join(folder, 'plain'), '');
  await mkdir(join(folder, 'folder'));
  expect(findHooks(folder)).toEqual(['10-x', 'B', 'a', 'b'].map((name) => join(folder, name)));
});

test('a folder that is not there is told', () => {
  expect(() => findHooks('/no/such/folder')).toThrow('read the hooks in /no/such/folder: no such file or directory');
});

test('all are called before, and in the same order after', async () => {
  const { folder, told } = await hooksIn({ a: '', b: '' });
  const hooks = new FreezeHooks({ folder, timeout: 5000 });
  await hooks.freeze(never);
  expect(await hooks.thaw()).toEqual([]);
  expect(await hooks.thaw()).toEqual([]);
  expect(await told()).toEqual(['a freeze', 'b freeze', 'a thaw', 'b thaw']);
});

test('one that fails ends it, and is called after like those before it', async () => {
  const { folder, told } = await hooksIn({ a: '', b: '[ $1 = thaw ] || { echo no database >&2; exit 3; }', c: '' });
  const hooks = new FreezeHooks({ folder, timeout: 5000 });
  await expect(hooks.freeze(never)).rejects.toMatchObject({
    message: `hook ${join(folder, 'b')} freeze: status 3 (no database)`,
    facts: { reason: 'hook' },
  });
  await hooks.thaw();
  expect(await told()).toEqual(['a freeze', 'b freeze', 'a thaw', 'b thaw']);
});

test('one that hangs is killed with what it started', async () => {
  const { folder, told } = await hooksIn({ a: 'sleep 600 & wait' });
  const hooks = new FreezeHooks({ folder, timeout: 300 });
  await expect(hooks.freeze(never)).rejects.toThrow('took longer than 300 ms');
  expect(await hooks.thaw()).toEqual([`hook ${join(folder, 'a')} thaw: took longer than 300 ms`]);
  expect(await told()).toEqual(['a freeze', 'a thaw']);
});

test('what one leaves running in the background does not hold it up', async () => {
  const { folder } = await hooksIn({ a: 'sleep 5 &' });
  const hooks = new FreezeHooks({ folder, timeout: 4000 });
  await hooks.freeze(never);
});

test('one that cannot be started is told', async () => {
  const { folder } = await hooksIn({});
  await writeFile(join(folder, 'a'), '#!/no/such/interpreter\n');
  await chmod(join(folder, 'a'), 0o755);
  await expect(new FreezeHooks({ folder, timeout: 1000 }).freeze(never)).rejects.toThrow(
    /could not be started \(ENOENT\)/,
  );
});
