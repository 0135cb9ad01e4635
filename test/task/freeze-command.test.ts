import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished } from 'vitest';
import { isFrozen, type Mountable, mountable, mounted, safetyNet, until } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { disktool, disktoolPath } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['fsfreeze', 'mke2fs', 'mount'], root: true });
const slow = needs({ programs: ['fsfreeze', 'mke2fs', 'mount'], root: true, slow: true });

/** What the test's own fsfreeze says of the mount while the command runs: `0` would be thawed. */
const probe = 'fsfreeze --freeze "$0" 2>/dev/null; echo $?';

/** Starts disktool in a session of its own, as a shell does, and leaves it running. */
function start(args: readonly string[]): { pid: number; ended: Promise<number | string | null> } {
  const child = spawn(process.execPath, [disktoolPath, ...args], { stdio: 'ignore', detached: true });
  const { pid } = child;
  if (pid === undefined) throw new Error('disktool could not be started');
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return { pid, ended: new Promise((resolve) => child.on('exit', (status, signal) => resolve(status ?? signal))) };
}

describe.each(Object.keys(mountable) as Mountable[])('freeze -- CMD on %s', (type) => {
  const onType = needs({ programs: ['fsfreeze', 'mount', mountable[type].program], root: true });

  onType('runs the command while it is frozen and thaws it', async () => {
    const { mountPoint } = await mounted(type);
    safetyNet(mountPoint);
    const ran = await disktool(['freeze', mountPoint, '--', 'sh', '-c', probe, mountPoint]);
    expect(ran).toMatchObject({ status: 0, stdout: '1' });
    expect(await isFrozen(mountPoint)).toBe(false);
  });

  onType('thaws at the timeout, ends the command and exits 124', async () => {
    const { mountPoint } = await mounted(type);
    safetyNet(mountPoint);
    const hangs = `exec 3>"$0/file"; echo x >&3; sync "$0/file"; sleep 60`;
    const ran = await disktool(['freeze', mountPoint, '--timeout', '300ms', '--', 'sh', '-c', hangs, mountPoint]);
    expect(ran.status).toBe(124);
    expect(ran.stderr).toContain('before the command was done');
    expect(await isFrozen(mountPoint)).toBe(false);
  });
});

describe('freeze -- CMD', () => {
  it('passes on the status of a command that fails, and thaws', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    expect(await disktool(['freeze', mountPoint, '--', 'sh', '-c', 'exit 7'])).toMatchObject({ status: 7 });
    expect(await isFrozen(mountPoint)).toBe(false);
  });

  it('exits 128 + n when signal n ended the command', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    expect(await disktool(['freeze', mountPoint, '--', 'sh', '-c', 'kill -9 $$'])).toMatchObject({ status: 137 });
    expect(await isFrozen(mountPoint)).toBe(false);
  });

  it('hands the command its own flags, and a second --', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    const ran = await disktool(['freeze', mountPoint, '--', 'printf', '%s ', '--', '--timeout', '--json']);
    expect(ran).toMatchObject({ status: 0, stdout: '-- --timeout --json ' });
  });

  it('freezes nothing for a command that is not there', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    const ran = await disktool(['freeze', mountPoint, '--', 'no-such-program']);
    expect(ran).toMatchObject({ status: 1, stderr: 'disktool: no-such-program: no such program: nothing was frozen' });
    expect(await isFrozen(mountPoint)).toBe(false);
  });

  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    it(`thaws on ${signal}, passes it on to the command and exits ${status}`, async () => {
      const { mountPoint } = await mounted('ext4');
      safetyNet(mountPoint);
      const told = join(await temporaryFolder(), 'told');
      const script = `trap 'fsfreeze --freeze "$0"; echo $? > "$1.new"; fsfreeze --unfreeze "$0"; mv "$1.new" "$1"; exit' ${signal.slice(3)}
        : > "$1.up"; while :; do sleep 0.05; done`;
      const { pid, ended } = start(['freeze', mountPoint, '--', 'sh', '-c', script, mountPoint, told]);
      await until(() => existsSync(`${told}.up`));
      process.kill(pid, signal);
      expect(await ended).toBe(status);
      // The command's own fsfreeze worked: it was thawed before the command was told.
      expect(await readFile(told, 'utf8')).toBe('0\n');
      expect(await isFrozen(mountPoint)).toBe(false);
    });
  }

  it('is thawed by the guard when disktool is killed, and the command goes on', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    const folder = await temporaryFolder();
    const script = ': > "$0/up"; while [ ! -e "$0/end" ]; do sleep 0.05; done; : > "$0/done"';
    const { pid, ended } = start(['freeze', mountPoint, '--', 'sh', '-c', script, folder]);
    await until(() => existsSync(join(folder, 'up')));
    expect(await isFrozen(mountPoint)).toBe(true);
    process.kill(pid, 'SIGKILL');
    expect(await ended).toBe('SIGKILL');
    await until(async () => !(await isFrozen(mountPoint)), 5000);
    await symlink('/', join(folder, 'end'));
    await until(() => existsSync(join(folder, 'done')));
    const said = await disktool(['thaw', mountPoint]);
    expect(said.stderr).toMatch(/it was thawed when the disktool that froze it was killed \d s ago/);
  });

  it('is thawed by the guard at the timeout when disktool is stopped, and says 124 when it goes on', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    const up = join(await temporaryFolder(), 'up');
    const { pid, ended } = start(['freeze', mountPoint, '--timeout', '1s', '--', 'sh', '-c', ': > "$0"; sleep 30', up]);
    await until(() => existsSync(up));
    process.kill(pid, 'SIGSTOP');
    await until(async () => !(await isFrozen(mountPoint)));
    process.kill(pid, 'SIGCONT');
    expect(await ended).toBe(124);
  });

  it('fails when somebody else thaws it meanwhile', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    const ran = await disktool(['freeze', mountPoint, '--', 'fsfreeze', '--unfreeze', mountPoint]);
    expect(ran.status).toBe(1);
    expect(ran.stderr).toContain('thawed by somebody else before the command ended');
  });

  slow('kills a command that does not listen, 10 s after the timeout', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    const script = `trap '' TERM; while :; do sleep 0.1; done`;
    expect(await disktool(['freeze', mountPoint, '--timeout', '200ms', '--', 'sh', '-c', script])).toMatchObject({
      status: 124,
    });
    expect(await isFrozen(mountPoint)).toBe(false);
  });
});
