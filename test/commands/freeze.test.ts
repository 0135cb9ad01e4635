import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { isFrozen, mounted, safetyNet, until } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { attempt, disktool, run } from '../support/run.js';

const plain = needs({ programs: ['fsfreeze'] });
const it = needs({ programs: ['fsfreeze', 'mke2fs', 'mount'], root: true });

describe('freeze', () => {
  it('returns once it is frozen, and its guard thaws it', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    const { status, stdout } = await disktool(['freeze', mountPoint, '--timeout', '2s']);
    expect({ status, stdout }).toEqual({ status: 0, stdout: `${mountPoint}: frozen, thaws by itself in 2 s` });
    expect(await isFrozen(mountPoint)).toBe(true);
    await until(async () => !(await isFrozen(mountPoint)));
    const late = await disktool(['thaw', mountPoint]);
    expect(late.status).toBe(1);
    expect(late.stderr).toMatch(/it was thawed by its timeout \d s ago, so a snapshot taken since is not consistent/);
  });

  it('freezes until it is thawed with --timeout 0, and leaves no guard', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    await disktool(['freeze', mountPoint, '--timeout', '0']);
    expect(await isFrozen(mountPoint)).toBe(true);
    await until(async () => (await attempt('pgrep', ['-f', `freeze-guard.*${mountPoint}"`])).status === 1);
    expect(await disktool(['thaw', mountPoint])).toMatchObject({ status: 0 });
    expect(await isFrozen(mountPoint)).toBe(false);
  });

  it('says that it is frozen already, and leaves it so', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    await run('fsfreeze', ['--freeze', mountPoint]);
    const { status, stderr } = await disktool(['freeze', mountPoint]);
    expect({ status, stderr }).toEqual({ status: 1, stderr: `disktool: freeze ${mountPoint}: already frozen` });
    expect(await isFrozen(mountPoint)).toBe(true);
  });

  it('freezes none of several when one of them cannot be', async () => {
    const one = await mounted('ext4');
    const other = await mounted('ext4');
    safetyNet(one.mountPoint);
    safetyNet(other.mountPoint);
    await run('fsfreeze', ['--freeze', other.mountPoint]);
    const { status } = await disktool(['freeze', one.mountPoint, other.mountPoint]);
    expect(status).toBe(1);
    expect(await isFrozen(one.mountPoint)).toBe(false);
    expect(await isFrozen(other.mountPoint)).toBe(true);
  });

  it('names the mount that a folder lies on', async () => {
    const { mountPoint } = await mounted('ext4');
    const { status, stderr } = await disktool(['freeze', join(mountPoint, 'lost+found')]);
    expect(status).toBe(1);
    expect(stderr).toContain(`not a mount point: it lies on the mount ${mountPoint}`);
  });

  it('refuses the filesystem that it stands in', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    const { status, stderr } = await disktool(['freeze', '.'], { cwd: mountPoint });
    expect(status).toBe(1);
    expect(stderr).toContain('it holds the working directory');
    expect(await isFrozen(mountPoint)).toBe(false);
  });

  plain('refuses the root filesystem', async () => {
    const { status, stderr } = await disktool(['freeze', '/']);
    expect(status).toBe(1);
    expect(stderr).toContain('it holds the root of the system');
  });

  plain('says that /proc cannot be frozen', async () => {
    const { status, stderr } = await disktool(['freeze', '/proc']);
    expect(status).toBe(1);
    expect(stderr).toMatch(/this kind of filesystem cannot be frozen|not permitted: only root/);
  });

  it('says that it may not open a mount point of somebody else', async () => {
    const { mountPoint } = await mounted('ext4');
    await run('chmod', ['700', mountPoint]);
    const { status, stderr } = await disktool(['freeze', mountPoint], { uid: 65534, gid: 65534, cwd: '/' });
    expect(status).toBe(1);
    expect(stderr).toContain(`${mountPoint}: permission denied (EACCES)`);
  });

  it('says that only root may', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    await run('chmod', ['755', mountPoint]);
    const { status, stderr } = await disktool(['freeze', mountPoint], { uid: 65534, gid: 65534, cwd: '/' });
    expect(status).toBe(1);
    expect(stderr).toContain('not permitted: only root (CAP_SYS_ADMIN) may');
  });
});
