import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { isFrozen, mounted, safetyNet, until } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { realAgent } from '../support/real-agent.js';
import { disktool, disktoolPath } from '../support/run.js';
import { scriptedAgent } from '../support/scripted-agent.js';
import { temporaryFolder } from '../support/temporary.js';

const real = needs({ programs: ['fsfreeze', 'mke2fs', 'mount', 'qemu-ga', 'unshare'], root: true });

/** Where records are kept for whoever is not root. */
const env = { XDG_RUNTIME_DIR: '/tmp' };

describe('freeze --agent', () => {
  test('freezes while a command runs, and thaws', async () => {
    const agent = await scriptedAgent();
    const args = ['--agent', agent.path, '/srv', '--json', '--', 'sh', '-c', 'exit 7'];
    const { status, stdout } = await disktool(['freeze', ...args], { env });
    expect(status).toBe(7);
    expect(JSON.parse(stdout)).toMatchObject({ frozen: ['/srv'], command: { status: 7, timedOut: false } });
    expect(agent.commands.slice(-2)).toEqual(['guest-fsfreeze-freeze-list', 'guest-fsfreeze-thaw']);
    expect(agent.frozen).toBe(false);
  });

  test('tells the time from the beginning of the freeze to the thaw, without that of the hooks', async () => {
    const agent = await scriptedAgent();
    // A guest that has much to write out.
    const slow = 1500;
    agent.script = (command, socket) => {
      if (command !== 'guest-fsfreeze-freeze') return undefined;
      agent.frozen = true;
      setTimeout(() => socket.write('{"return": 1}\n'), slow);
      return 'handled';
    };
    const hooks = await temporaryFolder();
    await writeFile(join(hooks, 'slow'), '#!/bin/sh\nsleep 2\n', { mode: 0o755 });
    const began = performance.now();
    const args = ['freeze', '--agent', agent.path, '--hooks', hooks, '--json', '--', 'true'];
    const { status, stdout } = await disktool(args, { env });
    const { frozenFor } = JSON.parse(stdout).command;
    expect(status).toBe(0);
    expect(frozenFor).toBeGreaterThanOrEqual(slow);
    expect(frozenFor).toBeLessThan(performance.now() - began - 4000);
  });

  test('its guard has the connection until thaw --agent asks it to thaw; meanwhile the record tells', async () => {
    const agent = await scriptedAgent();
    const frozen = await disktool(['freeze', '--agent', agent.path], { env });
    expect(frozen.stdout).toBe(`guest agent at ${agent.path}: frozen, thaws by itself in 60 s`);
    const { stdout } = await disktool(['freeze', '--status', '--agent', agent.path], { env });
    expect(stdout).toMatch(/: frozen by disktool .* ago, thaws by itself in \d+ s$/);
    expect(await disktool(['thaw', '--agent', agent.path], { env })).toMatchObject({
      status: 0,
      stdout: `guest agent at ${agent.path}: thawed`,
    });
    expect(agent.frozen).toBe(false);
    const again = await disktool(['thaw', '--agent', agent.path, '--json'], { env });
    expect(JSON.parse(again.stdout)).toMatchObject({ code: 'UNSAFE', reason: 'not-ours' });
  });

  test('with --timeout 0 leaves no guard, and thaw --agent connects by itself', async () => {
    const agent = await scriptedAgent();
    await disktool(['freeze', '--agent', agent.path, '--timeout', '0'], { env });
    expect(agent.frozen).toBe(true);
    expect(await disktool(['thaw', '--agent', agent.path], { env })).toMatchObject({ status: 0 });
    expect(agent.frozen).toBe(false);
  });

  test('leaves a guest alone that somebody else has frozen, unless thaw --force', async () => {
    const agent = await scriptedAgent();
    agent.frozen = true;
    expect((await disktool(['freeze', '--agent', agent.path], { env })).stderr).toContain('is frozen already');
    expect((await disktool(['thaw', '--agent', agent.path], { env })).status).toBe(1);
    expect(agent.frozen).toBe(true);
    expect((await disktool(['thaw', '--agent', agent.path, '--force'], { env })).status).toBe(0);
    expect(agent.frozen).toBe(false);
  });

  test('thaws at the timeout, and says so to the command and to thaw', async () => {
    const agent = await scriptedAgent();
    const command = ['--timeout', '300ms', '--', 'sleep', '60'];
    expect((await disktool(['freeze', '--agent', agent.path, ...command], { env })).status).toBe(124);
    expect(agent.frozen).toBe(false);
    await disktool(['freeze', '--agent', agent.path, '--timeout', '300ms'], { env });
    await until(() => !agent.frozen);
    const late = await disktool(['thaw', '--agent', agent.path], { env });
    expect(late).toMatchObject({ status: 1, stderr: expect.stringContaining('it was thawed by its timeout') });
  });

  test('thaws when disktool is killed', async () => {
    const agent = await scriptedAgent();
    const args = [disktoolPath, 'freeze', '--agent', agent.path, '--', 'sleep', '20'];
    const child = spawn(process.execPath, args, { stdio: 'ignore', detached: true, env: { ...process.env, ...env } });
    onTestFinished(() => void child.kill('SIGKILL'));
    await until(() => agent.frozen);
    child.kill('SIGKILL');
    await until(() => !agent.frozen);
    const said = await disktool(['thaw', '--agent', agent.path], { env });
    expect(said.stderr).toContain('it was thawed when the disktool that froze it was killed');
  });

  test('an agent that does not answer the freeze is told to thaw when it answers again', async () => {
    const agent = await scriptedAgent();
    agent.script = (command, socket) => {
      if (!command.startsWith('guest-fsfreeze-freeze')) return undefined;
      setTimeout(() => {
        agent.frozen = true;
        socket.write('{"return": 1}\n');
      }, 700);
      return 'handled';
    };
    const { status, stderr } = await disktool(['freeze', '--agent', agent.path, '--timeout', '300ms'], { env });
    expect({ status, stderr }).toEqual({ status: 1, stderr: 'disktool: freezing took longer than the timeout' });
    await until(() => agent.commands.includes('guest-fsfreeze-thaw'));
    await disktool(['thaw', '--agent', agent.path], { env });
  });

  test('a guest whose agent is gone for good is told to be frozen, as far as is known', async () => {
    const agent = await scriptedAgent();
    const command = [
      'sh',
      '-c',
      ': > "$0"; while [ -e "$0" ]; do sleep 0.05; done',
      join(await temporaryFolder(), 'up'),
    ];
    const ran = disktool(['freeze', '--agent', agent.path, '--json', '--', ...command], { env });
    await until(() => existsSync(command.at(-1) ?? ''));
    // Its thaw is refused: nobody asks again then.
    agent.script = (said, socket) => {
      if (said !== 'guest-fsfreeze-thaw') return undefined;
      socket.write('{"error": {"class": "CommandNotFound", "desc": "has been disabled"}}\n');
      return 'handled';
    };
    await rm(command.at(-1) ?? '');
    const { status, stdout } = await ran;
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      reason: 'still-frozen',
      message: expect.stringContaining('was left frozen, as far as is known'),
    });
    agent.script = undefined;
    expect(await disktool(['thaw', '--agent', agent.path], { env })).toMatchObject({ status: 0 });
  });

  test('an agent that dies while it freezes is reported with the state that it was left in', async () => {
    const agent = await scriptedAgent();
    agent.script = (command, socket) => {
      if (command !== 'guest-fsfreeze-freeze') return undefined;
      agent.frozen = true;
      socket.destroy();
      return 'handled';
    };
    const args = ['freeze', '--agent', agent.path];
    const { status, stderr } = await disktool(args, { env });
    expect({ status, frozen: agent.frozen }).toEqual({ status: 1, frozen: false });
    expect(stderr).toBe(
      `disktool: guest agent at ${agent.path}: the connection ended: the guest behind the guest agent at ${agent.path} was asked again, and is thawed now`,
    );
    expect(agent.commands).toContain('guest-fsfreeze-thaw');
  });

  test('a MOUNT that the guest does not have freezes nothing', async () => {
    const agent = await scriptedAgent();
    const { status, stderr } = await disktool(['freeze', '--agent', agent.path, '/srw'], { env });
    expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringContaining('has no mount point /srw') });
    expect(agent.commands).not.toContain('guest-fsfreeze-freeze-list');
  });
});

real(
  'freeze --agent freezes what is named through a real qemu-ga, and thaws it',
  async () => {
    const { mountPoint } = await mounted('ext4');
    safetyNet(mountPoint, 60);
    const { path } = await realAgent([mountPoint]);
    const wrong = await disktool(['freeze', '--agent', path, `${mountPoint}/no`]);
    expect(wrong.stderr).toContain('the guest has no mount point');
    const probe = 'fsfreeze --freeze "$0" 2>/dev/null; echo $?';
    const ran = await disktool(['freeze', '--agent', path, mountPoint, '--', 'sh', '-c', probe, mountPoint]);
    expect(ran).toMatchObject({ status: 0, stdout: '1' });
    expect(await isFrozen(mountPoint)).toBe(false);
    await disktool(['freeze', '--agent', path, mountPoint, '--timeout', '0']);
    expect(await isFrozen(mountPoint)).toBe(true);
    const status = await disktool(['freeze', '--agent', path, '--status']);
    expect(status.stdout).toBe(`guest agent at ${path}: frozen by disktool`);
    expect(await disktool(['thaw', '--agent', path])).toMatchObject({ status: 0 });
    expect(await isFrozen(mountPoint)).toBe(false);
  },
  120_000,
);

/** virsh without a libvirt: it hands the agent's command to the scripted agent, and says what virsh would. */
const virsh = `#!/usr/bin/python3
import json, socket, sys
args = sys.argv[1:]
assert args[:2] == ['--quiet', 'qemu-agent-command'] and '--timeout' in args, args
domain, command = args[args.index('--domain') + 1], args[args.index('--cmd') + 1]
if domain != 'guest':
    sys.exit("error: failed to get domain '%s'" % domain)
s = socket.socket(socket.AF_UNIX)
s.connect(open(sys.argv[0] + '.socket').read())
s.sendall(command.encode() + b'\\n')
print(s.makefile().readline())
`;

needs({ programs: ['python3'] })('freeze --domain asks through virsh', async () => {
  const agent = await scriptedAgent();
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'virsh'), virsh, { mode: 0o755 });
  await writeFile(join(folder, 'virsh.socket'), agent.path);
  const options = { env: { ...env, PATH: `${folder}:${process.env.PATH}` } };
  const log = join(folder, 'log');
  const args = ['--domain', 'guest', '/srv', '--', 'sh', '-c', `echo frozen > ${log}`];
  expect(await disktool(['freeze', ...args], options)).toMatchObject({ status: 0 });
  expect(await readFile(log, 'utf8')).toBe('frozen\n');
  expect(agent.commands.slice(-2)).toEqual(['guest-fsfreeze-freeze-list', 'guest-fsfreeze-thaw']);
  const other = await disktool(['freeze', '--domain', 'other'], options);
  expect(other.stderr).toContain("guest agent of other: guest-ping: virsh: failed to get domain 'other'");
});

needs({ programs: ['virsh'] })('the real virsh takes what disktool says to it', async () => {
  const { status, stderr } = await disktool(['freeze', '--domain', 'no-such-guest'], {
    env: { ...env, LIBVIRT_DEFAULT_URI: 'test:///default' },
  });
  expect(status).toBe(1);
  expect(stderr).toContain("failed to get domain 'no-such-guest'");
});
