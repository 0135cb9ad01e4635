import { rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { closeFile, findFile, reopen, statFile } from '../../src/host/open-file.js';
import { needs } from '../support/needs.js';
import { attempt, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

test('opens the file that was found, whatever the path has come to mean since', async () => {
  const path = join(await temporaryFolder(), 'file');
  await writeFile(path, 'one');
  const { fd, stats } = await findFile(path);
  await writeFile(`${path}.other`, 'another');
  await rename(`${path}.other`, path);
  const opened = await reopen(fd, 'read', path);
  expect((await statFile(opened, path)).ino).toBe(stats.ino);
  await closeFile(opened);
  await closeFile(fd);
});

test('finds a pipe that nobody writes to without waiting', async () => {
  const path = join(await temporaryFolder(), 'fifo');
  await run('mkfifo', [path]);
  const { fd, stats } = await findFile(path);
  expect(stats.isFIFO()).toBe(true);
  await closeFile(fd);
});

test('gives up on links that lead in a circle', async () => {
  const path = join(await temporaryFolder(), 'link');
  await symlink(path, path);
  await expect(findFile(path)).rejects.toMatchObject({ errno: 'ELOOP' });
});

needs({ root: true })('says that an image is immutable, or on a filesystem that only reads', async () => {
  const folder = await temporaryFolder();
  await run('mount', ['-t', 'tmpfs', 'tmpfs', folder]);
  try {
    const path = join(folder, 'file');
    await writeFile(path, '');
    await run('mount', ['-o', 'remount,ro', folder]);
    const { fd } = await findFile(path);
    await expect(reopen(fd, 'write', path)).rejects.toMatchObject({
      code: 'READ_ONLY',
      message: `${path}: lies on a filesystem that is mounted read-only`,
    });
    await closeFile(fd);
  } finally {
    await run('umount', [folder]);
  }
  const path = join(await temporaryFolder(), 'file');
  await writeFile(path, '');
  if ((await attempt('chattr', ['+i', path])).status !== 0) return;
  const { fd } = await findFile(path);
  try {
    await expect(reopen(fd, 'write', path)).rejects.toThrow(`${path}: may not be changed (EPERM)`);
  } finally {
    await closeFile(fd);
    await run('chattr', ['-i', path]);
  }
});
