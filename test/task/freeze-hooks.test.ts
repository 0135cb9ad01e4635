import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { isFrozen, mounted, safetyNet, until } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { disktool, disktoolPath } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['fsfreeze', 'mke2fs', 'mount'], root: true });

/** One hook that writes down what it is called with, and whether the filesystem was frozen then. */
async function hookOn(mountPoint: string, body = ''): Promise<{ folder: string; told: () => Promise<string> }> {
  const folder = await temporaryFolder();
  const log = join(await temporaryFolder(), 'log');
  await writeFile(log, '');
  const script = `#!/bin/sh
if fsfreeze --freeze ${mountPoint} 2>/dev/null; then fsfreeze --unfreeze ${mountPoint}; at=thawed; else at=frozen; fi
echo "$1 $at" >> ${log}
${body}
`;
  await writeFile(join(folder, 'hook'), script, { mode: 0o755 });
  return { folder, told: () => readFile(log, 'utf8') };
}

it('hooks are called before the freeze and after the thaw, around a command and by hand', async () => {
  const { mountPoint } = await mounted('ext4');
  safetyNet(mountPoint, 60);
  const { folder, told } = await hookOn(mountPoint, '[ $1 = freeze ] || exit 5');
  const complaint = new RegExp(`warning: hook ${join(folder, 'hook')} thaw: status 5`);
  const around = await disktool(['freeze', mountPoint, '--hooks', folder, '--', 'true']);
  expect(around).toMatchObject({ status: 0, stderr: expect.stringMatching(complaint) });
  // Its guard stays for the hooks' sake, though it is never to thaw.
  await disktool(['freeze', mountPoint, '--hooks', folder, '--timeout', '0']);
  expect(await isFrozen(mountPoint)).toBe(true);
  expect(await disktool(['thaw', mountPoint])).toMatchObject({ status: 0, stderr: expect.stringMatching(complaint) });
  expect(await told()).toBe('freeze thawed\nthaw thawed\n'.repeat(2));
});

it('a hook that fails calls the freeze off, and is called after', async () => {
  const { mountPoint } = await mounted('ext4');
  safetyNet(mountPoint);
  const { folder, told } = await hookOn(mountPoint, 'exit 1');
  const { status, stdout } = await disktool(['freeze', mountPoint, '--hooks', folder, '--json', '--', 'touch', folder]);
  expect(status).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ code: 'IO', reason: 'hook', device: join(folder, 'hook') });
  expect(await isFrozen(mountPoint)).toBe(false);
  expect(await told()).toBe('freeze thawed\nthaw thawed\n');
});

it('a filesystem that cannot be frozen has the hooks called after, too', async () => {
  const { mountPoint } = await mounted('ext4');
  const { folder, told } = await hookOn(mountPoint);
  const { status } = await disktool(['freeze', '/proc', '--hooks', folder]);
  expect(status).toBe(1);
  expect(await told()).toBe('freeze thawed\nthaw thawed\n');
});

it('the guard calls the hooks after the thaw when disktool is killed', async () => {
  const { mountPoint } = await mounted('ext4');
  safetyNet(mountPoint);
  const { folder, told } = await hookOn(mountPoint);
  const up = join(await temporaryFolder(), 'up');
  const command = ['sh', '-c', ': > "$0"; sleep 20', up];
  const args = [disktoolPath, 'freeze', mountPoint, '--hooks', folder, '--', ...command];
  const child = spawn(process.execPath, args, { stdio: 'ignore', detached: true });
  onTestFinished(() => void child.kill('SIGKILL'));
  await until(() => existsSync(up));
  child.kill('SIGKILL');
  await until(async () => (await told()) === 'freeze thawed\nthaw thawed\n');
  expect(await isFrozen(mountPoint)).toBe(false);
});
