import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SocketAgent } from '../../src/machine/socket-agent.js';
import { needs } from '../support/needs.js';
import { scriptedAgent } from '../support/scripted-agent.js';
import { temporaryFolder } from '../support/temporary.js';

const withPython = needs({ programs: ['python3'] });
const soon = { patience: 5000 };

async function connect(path: string): Promise<SocketAgent> {
  const agent = await SocketAgent.connect(path);
  onTestFinished(() => agent.close());
  return agent;
}

describe('a guest agent on a socket', () => {
  test('is brought in step past what another client left in the pipe', async () => {
    const scripted = await scriptedAgent();
    scripted.script = (command, socket, { id }) => {
      if (command !== 'guest-sync-delimited') return undefined;
      // A late answer, the echo of another client's, half a line; then its own, byte by byte.
      socket.write('{"return": "late"}\n');
      socket.write(Buffer.concat([Uint8Array.of(0xff), Buffer.from('{"return": 7}\n{"retu')]));
      for (const byte of [0xff, ...Buffer.from(`{"return": ${id}}\n`)]) socket.write(Uint8Array.of(byte));
      return 'handled';
    };
    const agent = await connect(scripted.path);
    expect(await agent.execute('guest-fsfreeze-status', undefined, soon)).toBe('thawed');
  });

  test('says in its own words what it cannot do', async () => {
    const scripted = await scriptedAgent();
    scripted.script = (command, socket) => {
      if (command !== 'guest-fsfreeze-thaw') return undefined;
      socket.write('{"error": {"class": "GenericError", "desc": "failed to open /srv: Permission denied"}}\n');
      return 'handled';
    };
    const agent = await connect(scripted.path);
    await expect(agent.execute('guest-fsfreeze-thaw', undefined, soon)).rejects.toMatchObject({
      code: 'IO',
      message: `guest agent at ${scripted.path}: guest-fsfreeze-thaw: failed to open /srv: Permission denied`,
      facts: { reason: 'agent-error' },
    });
    await expect(agent.execute('guest-nothing', undefined, soon)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });

  test('that answers too late is not taken at its word for the next question', async () => {
    const scripted = await scriptedAgent();
    scripted.script = (command, socket) => {
      if (command !== 'guest-ping') return undefined;
      setTimeout(() => socket.write('{"return": "pong"}\n'), 300);
      return 'handled';
    };
    const agent = await connect(scripted.path);
    await expect(agent.execute('guest-ping', undefined, { patience: 100 })).rejects.toMatchObject({
      facts: { reason: 'no-answer' },
    });
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(await agent.execute('guest-fsfreeze-status', undefined, soon)).toBe('thawed');
  });

  test.each([
    ['no JSON', 'hello\n'],
    ['no object', '[1]\n'],
    ['neither "return" nor "error"', '{"event": "X"}\n'],
    ['a line without end', `${' '.repeat(5 << 20)}`],
  ])('that sends %s breaks the protocol, and is asked anew', async (_, text) => {
    const scripted = await scriptedAgent();
    scripted.script = (command, socket) => {
      if (command !== 'guest-ping') return undefined;
      socket.write(text);
      return 'handled';
    };
    const agent = await connect(scripted.path);
    await expect(agent.execute('guest-ping', undefined, soon)).rejects.toMatchObject({ code: 'PROTOCOL' });
    expect(await agent.execute('guest-fsfreeze-status', undefined, soon)).toBe('thawed');
  });

  test('that is gone is told at once', async () => {
    const scripted = await scriptedAgent();
    scripted.script = (command) => {
      if (command !== 'guest-ping') return undefined;
      scripted.die();
      return 'handled';
    };
    const agent = await connect(scripted.path);
    const gone = { code: 'IO', facts: { reason: 'agent-gone' } };
    await expect(agent.execute('guest-ping', undefined, { patience: 60_000 })).rejects.toMatchObject(gone);
    await expect(agent.execute('guest-ping', undefined, { patience: 60_000 })).rejects.toMatchObject(gone);
  });

  test('is not waited for when nobody wants its answer any more', async () => {
    const scripted = await scriptedAgent();
    scripted.script = () => 'handled';
    const agent = await connect(scripted.path);
    const stop = new AbortController();
    const asked = agent.execute('guest-ping', undefined, { patience: 60_000, signal: stop.signal });
    stop.abort();
    await expect(asked).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  test('that is not there, or is no socket, is told', async () => {
    await expect(SocketAgent.connect('/no/such/socket')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const file = join(await temporaryFolder(), 'file');
    await writeFile(file, '');
    await expect(SocketAgent.connect(file)).rejects.toMatchObject({ code: 'USAGE' });
  });
});

withPython('a guest agent on a character device', async () => {
  const scripted = await scriptedAgent();
  // What QEMU does for -chardev pty: a pseudo-terminal in raw mode, and what comes through it goes to the agent.
  const bridge = `import os, pty, select, socket, sys, tty
master, slave = pty.openpty()
tty.setraw(slave)
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print(os.ttyname(slave), flush=True)
while True:
    for fd in select.select([master, s], [], [])[0]:
        data = os.read(fd if fd == master else s.fileno(), 65536)
        if not data: sys.exit()
        os.write(s.fileno() if fd == master else master, data)
`;
  const python = spawn('/usr/bin/python3', ['-c', bridge, scripted.path], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void python.kill());
  const [name] = await once(python.stdout, 'data');
  const agent = await connect(String(name).trim());
  expect(await agent.execute('guest-ping', undefined, soon)).toEqual({});
  expect(await agent.execute('guest-get-fsinfo', undefined, soon)).toHaveLength(3);
  // It ends with a request in the pipe that nobody has read.
  python.kill('SIGSTOP');
  const asked = agent.execute('guest-ping', undefined, soon);
  python.kill('SIGKILL');
  await expect(asked).rejects.toMatchObject({ facts: { reason: 'agent-gone' } });
});
