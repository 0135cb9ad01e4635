import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { needs } from '../support/needs.js';
import { disktool, disktoolHere, disktoolPath, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

async function randomImage(size: number): Promise<{ folder: string; source: string; to: string }> {
  const folder = await temporaryFolder();
  const source = join(folder, 'source.img');
  await writeFile(source, randomBytes(size));
  return { folder, source, to: join(folder, 'copy.img') };
}

test('refuses to replace a file without --force, in words', async () => {
  const { source, to } = await randomImage(1 << 20);
  await writeFile(to, 'precious');
  const refused = await disktool(['copy', source, to]);
  expect(refused).toMatchObject({ status: 1, stdout: '' });
  expect(refused.stderr).toContain('is there already');
  expect(await readFile(to, 'utf8')).toBe('precious');
  expect((await disktoolHere(['copy', '--force', source, to])).status).toBe(0);
  await run('cmp', [source, to]);
});

test('writes every byte to standard output', async () => {
  const { source } = await randomImage(3_000_001);
  const shell = 'set -o pipefail; "$0" "$1" copy "$2" - | sha256sum';
  const sum = await run('bash', ['-c', shell, process.execPath, disktoolPath, source]);
  expect(sum.split(' ')[0]).toBe((await run('sha256sum', [source])).split(' ')[0]);
});

needs({ programs: ['qemu-img'] })('makes a copy that qemu-img finds identical', async () => {
  const { source, to } = await randomImage(1 << 20);
  expect((await disktoolHere(['copy', source, to])).status).toBe(0);
  expect(await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', source, to])).toContain('identical');
});

test.each(['SIGINT', 'SIGKILL'] as const)('leaves nothing, or the whole, after %s at any moment', async (signal) => {
  const { folder, source, to } = await randomImage(48 << 20);
  for (const delay of [0, 120, 200, 260, 320, 380]) {
    const copying = execa(process.execPath, [disktoolPath, 'copy', '--force', source, to], { reject: false });
    await sleep(delay + Math.random() * 50);
    copying.kill(signal);
    await copying;
    const names = await readdir(folder);
    if (names.includes('copy.img')) await run('cmp', [source, to]);
    // Between its link and its rename a copy that replaces has a name of its own for a moment.
    for (const name of names.filter((name) => name.startsWith('.'))) await run('cmp', [source, join(folder, name)]);
  }
});
