import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { hold, isLocked } from '../support/hold.js';
import { isFrozen, mounted, safetyNet, until } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { disktool, disktoolPath, run } from '../support/run.js';
import { scriptedAgent } from '../support/scripted-agent.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['fsfreeze', 'mke2fs', 'mount'], root: true });
const env = { XDG_RUNTIME_DIR: '/tmp' };

/** A pipe that is open to be read from, and never is: a copy to it does not end. */
async function endlessOutput(): Promise<string> {
  const path = join(await temporaryFolder(), 'pipe');
  await run('mkfifo', [path]);
  const reader = spawn('sh', ['-c', 'sleep 60 < "$0"', path], { stdio: 'ignore', detached: true });
  onTestFinished(() => void (reader.pid !== undefined && process.kill(-reader.pid, 'SIGKILL')));
  return path;
}

describe('snapshot', () => {
  test('needs something to freeze', async () => {
    const { status, stderr } = await disktool(['snapshot', 'a.img', 'b.img']);
    expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.stringContaining('nothing to freeze') });
  });

  it('refuses a copy on what is to be frozen, and freezes nothing', async () => {
    const { image, mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    const out = join(mountPoint, 'copy');
    const { status, stdout } = await disktool(['snapshot', image, out, '--freeze', mountPoint, '--json']);
    expect({ status, ...JSON.parse(stdout) }).toMatchObject({ status: 1, code: 'UNSAFE', reason: 'frozen-output' });
    expect(await isFrozen(mountPoint)).toBe(false);
  });

  it('warns when what is frozen is not seen to be in the image', async () => {
    const { mountPoint } = await mounted('ext4');
    const other = await mounted('ext4');
    safetyNet(mountPoint);
    const out = join(await temporaryFolder(), 'copy');
    const { status, stderr } = await disktool(['snapshot', other.image, out, '--freeze', mountPoint]);
    expect(status).toBe(0);
    expect(stderr).toContain(`warning: ${mountPoint}: is not seen to be in ${other.image}`);
  });

  it('that took longer than the timeout is no copy, and says so', async () => {
    const { image, mountPoint } = await mounted('ext4');
    safetyNet(mountPoint);
    const out = await endlessOutput();
    const args = ['snapshot', image, out, '--freeze', mountPoint, '--timeout', '1s', '--json'];
    const { status, stdout } = await disktool(args);
    expect({ status, ...JSON.parse(stdout) }).toMatchObject({ status: 1, code: 'UNSAFE', reason: 'timeout' });
    expect(await isFrozen(mountPoint)).toBe(false);
  });

  for (const [signal, end] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGKILL', 'SIGKILL'],
  ] as const) {
    it(`thaws on ${signal}`, async () => {
      const { image, mountPoint } = await mounted('ext4');
      safetyNet(mountPoint);
      const args = ['snapshot', image, await endlessOutput(), '--freeze', mountPoint];
      const child = spawn(process.execPath, [disktoolPath, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
      const ended = new Promise((resolve) => child.on('exit', (status, by) => resolve(status ?? by)));
      // Its progress: to ask the kernel would be to freeze, and get in its way.
      await once(child.stderr, 'data');
      expect(await isFrozen(mountPoint)).toBe(true);
      child.kill(signal);
      expect(await ended).toBe(end);
      await until(async () => !(await isFrozen(mountPoint)));
    });
  }

  test('of a guest freezes it through its agent, and leaves nothing behind when that fails', async () => {
    const agent = await scriptedAgent();
    const folder = await temporaryFolder();
    const image = join(folder, 'guest.img');
    const file = await open(image, 'w');
    await file.truncate(1 << 20);
    await file.write('guest');
    await file.sync();
    onTestFinished(() => file.close());
    const out = join(folder, 'copy.img');
    const args = ['snapshot', image, out, '--agent', agent.path];
    const taken = await disktool(args, { env });
    expect(taken.stdout).toMatch(
      /^.*copy\.img: raw, 1\.0M(, shared with the image)?; frozen for \S+ m?s: guest agent at /,
    );
    expect((await readFile(out)).equals(await readFile(image))).toBe(true);
    expect(agent.commands.slice(-2)).toEqual(['guest-fsfreeze-freeze', 'guest-fsfreeze-thaw']);
    agent.script = (command, socket) => {
      if (command !== 'guest-fsfreeze-thaw') return undefined;
      // Somebody in the guest has thawed it before.
      agent.frozen = false;
      socket.write('{"return": 0}\n');
      return 'handled';
    };
    const again = await disktool(['snapshot', image, join(folder, 'other.img'), '--agent', agent.path, '--json'], {
      env,
    });
    expect({ status: again.status, ...JSON.parse(again.stdout) }).toMatchObject({ status: 1, reason: 'thawed' });
    expect((await readdir(dirname(out))).sort()).toEqual(['copy.img', 'guest.img']);
  });

  needs({ programs: ['qemu-img', 'qemu-io'] })('refuses a qcow2 image that somebody writes to', async () => {
    const agent = await scriptedAgent();
    const folder = await temporaryFolder();
    const image = join(folder, 'guest.qcow2');
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', image, '4M']);
    await hold('qemu-io', ['-f', 'qcow2', image], () => isLocked(image));
    const { status, stderr } = await disktool(['snapshot', image, join(folder, 'copy'), '--agent', agent.path], {
      env,
    });
    expect(status).toBe(1);
    expect(stderr).toContain(
      'a qcow2 image that somebody writes to is partly in their memory: have QEMU copy it: --qmp',
    );
    expect(agent.commands).toEqual([]);
  });
});
