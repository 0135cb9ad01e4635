import { describe, expect } from 'vitest';
import { isFrozen, mounted, safetyNet } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { disktool, disktoolPath, run } from '../support/run.js';

const it = needs({ programs: ['fsfreeze', 'mke2fs', 'mount'], root: true });
const apart = needs({ programs: ['fsfreeze', 'mke2fs', 'mount', 'unshare'], root: true });

describe('freeze --status', () => {
  it('tells what disktool has frozen from what somebody else has, and from what is not, and leaves all as it is', async () => {
    const [ours, others, thawed] = [await mounted('ext4'), await mounted('ext4'), await mounted('ext4')];
    for (const { mountPoint } of [ours, others, thawed]) safetyNet(mountPoint, 60);
    await disktool(['freeze', ours.mountPoint, '--timeout', '5m']);
    await run('fsfreeze', ['--freeze', others.mountPoint]);
    const points = [ours.mountPoint, others.mountPoint, thawed.mountPoint];
    const { status, stdout } = await disktool(['freeze', '--status', ...points, '--json']);
    expect(status).toBe(0);
    const [first, ...rest] = JSON.parse(stdout).mounts;
    expect(first).toMatchObject({ mountPoint: ours.mountPoint, state: 'frozen', by: 'disktool' });
    expect(first.until - first.since).toBe(300_000);
    expect(rest).toEqual([
      { mountPoint: others.mountPoint, state: 'frozen', by: 'somebody-else' },
      { mountPoint: thawed.mountPoint, state: 'thawed' },
    ]);
    const words = await disktool(['freeze', '--status', ...points]);
    expect(words.stdout.split('\n')).toEqual([
      expect.stringMatching(/: frozen by disktool \S+ ?s? ago, thaws by itself in .+$/),
      `${others.mountPoint}: frozen by somebody else`,
      `${thawed.mountPoint}: thawed`,
    ]);
    expect(await Promise.all(points.map(isFrozen))).toEqual([true, true, false]);
    expect(await disktool(['thaw', ours.mountPoint])).toMatchObject({ status: 0 });
  });

  it('says that somebody else has thawed what disktool had frozen', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    await disktool(['freeze', mountPoint]);
    await run('fsfreeze', ['--unfreeze', mountPoint]);
    const { stdout } = await disktool(['freeze', '--status', mountPoint]);
    expect(stdout).toBe(`${mountPoint}: thawed by somebody else (disktool had frozen it)`);
    const late = await disktool(['thaw', mountPoint]);
    expect(late.stderr).toContain('it was thawed by somebody else, so a snapshot taken since is not consistent');
  });

  it('says why it cannot ask', async () => {
    const { mountPoint } = await mounted('ext4');
    await run('chmod', ['755', mountPoint]);
    const asUser = await disktool(['freeze', '--status', mountPoint, '/'], { uid: 65534, gid: 65534, cwd: '/' });
    expect(asUser.status).toBe(0);
    expect(asUser.stdout).toContain(`${mountPoint}: unknown (cannot be asked: freeze ${mountPoint}: not permitted`);
    expect(asUser.stdout).toContain('/: unknown (not asked: freeze /: it holds the root of the system');
  });
});

describe('thaw', () => {
  it('refuses what somebody else has frozen, and thaws it with --force', async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    await run('fsfreeze', ['--freeze', mountPoint]);
    const refused = await disktool(['thaw', mountPoint, '--json']);
    expect(refused.status).toBe(1);
    expect(JSON.parse(refused.stdout)).toMatchObject({ code: 'UNSAFE', reason: 'not-ours' });
    expect(await isFrozen(mountPoint)).toBe(true);
    expect(await disktool(['thaw', mountPoint, '--force'])).toMatchObject({ status: 0 });
    expect(await isFrozen(mountPoint)).toBe(false);
  });

  apart('--all thaws what disktool has frozen, outermost first, and nothing else', async () => {
    const [one, two, others] = [await mounted('ext4'), await mounted('ext4'), await mounted('ext4')];
    for (const { mountPoint } of [one, two, others]) safetyNet(mountPoint, 60);
    // Where records lie that no other test knows of.
    const script = `mount -t tmpfs none /run && fsfreeze --freeze "$4" || exit
      "$0" "$1" freeze "$2" "$3" --timeout 0 --quiet >/dev/null || exit
      "$0" "$1" freeze --status; "$0" "$1" thaw --all; "$0" "$1" thaw --all 2>&1; echo $?`;
    const points = [one, two, others].map(({ mountPoint }) => mountPoint);
    const stdout = await run('unshare', ['-m', 'sh', '-c', script, process.execPath, disktoolPath, ...points]);
    const lines = stdout.split('\n');
    for (const mountPoint of points.slice(0, 2)) {
      expect(lines).toContainEqual(expect.stringMatching(new RegExp(`^${mountPoint}: frozen by disktool .* ago$`)));
      expect(lines).toContain(`${mountPoint}: thawed`);
    }
    expect(lines.slice(4)).toEqual([
      'disktool: nothing is frozen by disktool, or it has been thawed by another thaw',
      '1',
    ]);
    expect(await Promise.all(points.map(isFrozen))).toEqual([false, false, true]);
  });
});
