import { linkSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openExt } from '../../../src/filesystem/ext/ext.js';
import { encryptFolder } from '../../support/encrypt.js';
import { kernelFiles } from '../../support/kernel-files.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { disktool, run } from '../../support/run.js';
import { mountLoop, temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['mke2fs', 'mount'], root: true });

/** /plain, and /vault that is encrypted, of which the key is gone. */
async function locked(): Promise<{ path: string; folder: string }> {
  const folder = await temporaryFolder();
  const path = join(folder, 'ext.img');
  await writeFile(path, '');
  await run('mke2fs', ['-Fq', '-t', 'ext4', '-b', '4096', '-O', 'encrypt', path, '32M']);
  const { mountPoint, unmount } = await mountLoop(path);
  writeFileSync(join(mountPoint, 'plain'), 'plain');
  const vault = join(mountPoint, 'vault');
  mkdirSync(vault);
  encryptFolder(vault);
  mkdirSync(join(vault, 'inner'));
  for (let i = 0; i < 200; i++) writeFileSync(join(vault, 'inner', `a secret of the name ${i}`), `secret ${i}`);
  writeFileSync(join(vault, 'n'.repeat(200)), 'long');
  symlinkSync('secret', join(vault, 'link'));
  linkSync(join(vault, 'inner', 'a secret of the name 0'), join(vault, 'inner', 'again'));
  await unmount();
  return { path, folder };
}

it('shows what the kernel shows without the key, but for the names, and refuses the content', async () => {
  const { path } = await locked();
  const { mountPoint, unmount } = await mountLoop(path, ['ro']);
  const visible = new Map<bigint, object>();
  for (const [name, { stats }] of kernelFiles(mountPoint, { contents: false })) {
    const { mode, nlink: links } = stats;
    // Of a link that it cannot read, the kernel tells the length of what it shows instead.
    const size = stats.isSymbolicLink() ? undefined : stats.size;
    visible.set(stats.ino, { depth: name.split('/').length, mode: Number(mode) & 0o7777, size, links: Number(links) });
  }
  await unmount();
  await using device = await openRaw(path);
  const shown = new Map<bigint, object>();
  const refused: string[] = [];
  for await (const { path: name, file } of (await openExt(device)).walk()) {
    const { mode, links } = file.attributes;
    const size = file.type === 'symlink' ? undefined : file.attributes.size;
    const text = name.toString();
    shown.set(file.id, { depth: text.split('/').length, mode, size, links });
    if (file.refused === undefined) continue;
    refused.push(text);
    expect(text).toMatch(/^[\w/-]+$/);
    expect(await file.xattrs()).toEqual([]);
    for await (const extent of file.fileMap()) expect(extent.encoded, text).toBe(extent.role === 'content');
    const attempt = file.type === 'file' ? file.content() : file.type === 'symlink' ? file.linkTarget() : undefined;
    if (attempt !== undefined) await expect(attempt).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  }
  expect(shown).toEqual(visible);
  expect(refused).toHaveLength(1 + 1 + 200 + 1 + 1 + 1);
});

it('is listed, and left out of a copy, with the reason', async () => {
  const { path, folder } = await locked();
  const listed = await disktool(['ls', '-l', path, '/dev/sda', '/vault']);
  expect(listed).toMatchObject({ status: 0, stderr: expect.stringContaining('encrypted') });
  const lines = listed.stdout.split('\n');
  expect(lines).toHaveLength(3);
  expect(lines.filter((line) => line.endsWith(' -> (encrypted)'))).toHaveLength(1);
  const name = lines
    .find((line) => line.startsWith('-'))
    ?.split(' ')
    .at(-1);
  expect(await disktool(['cat', path, '/dev/sda', `/vault/${name}`])).toMatchObject({
    status: 1,
    stdout: '',
    stderr: expect.stringContaining('it is encrypted, and its key is not here'),
  });
  const out = join(folder, 'out');
  mkdirSync(out);
  const { status, stdout } = await disktool(['copy-out', '--json', path, '/dev/sda', '/', out]);
  expect({ status, ...JSON.parse(stdout) }).toMatchObject({
    status: 3,
    files: 1,
    leftOut: [{ path: '/vault', reason: expect.stringContaining('encrypted') }],
  });
  expect(readdirSync(out).sort()).toEqual(['lost+found', 'plain']);
});
