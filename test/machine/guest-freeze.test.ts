import { expect, onTestFinished, test } from 'vitest';
import { freezeGuest, openAgent, thawGuest } from '../../src/machine/guest-freeze.js';
import { type ScriptedAgent, scriptedAgent } from '../support/scripted-agent.js';

async function freeze({ path }: ScriptedAgent, mountPoints?: readonly string[]) {
  const agent = await openAgent({ kind: 'socket', path });
  onTestFinished(() => agent.close());
  return { agent, frozen: await freezeGuest(agent, mountPoints, () => {}) };
}

test('all of a guest is frozen, or what is named', async () => {
  const scripted = await scriptedAgent();
  const { agent, frozen } = await freeze(scripted);
  expect(frozen).toEqual({ mountPoints: [], count: 1 });
  expect(await thawGuest({ kind: 'socket', path: scripted.path }, agent)).toBe(1);
  const named = await freeze(scripted, ['/', '/srv']);
  expect(named.frozen).toEqual({ mountPoints: ['/', '/srv'], count: 2 });
  expect(scripted.commands).toEqual([
    ...['guest-ping', 'guest-fsfreeze-status', 'guest-fsfreeze-freeze', 'guest-fsfreeze-thaw'],
    ...['guest-ping', 'guest-fsfreeze-status', 'guest-get-fsinfo', 'guest-fsfreeze-freeze-list'],
  ]);
});

test('two mounts of one filesystem are one to the agent', async () => {
  const { frozen } = await freeze(await scriptedAgent(), ['/srv', '/srv/again']);
  expect(frozen.count).toBe(1);
});

test('a mount that the guest does not have is told, though the agent would ignore it', async () => {
  const scripted = await scriptedAgent();
  await expect(freeze(scripted, ['/srv', '/srw'])).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: `guest agent at ${scripted.path}: the guest has no mount point /srw: it has /, /srv, /srv/again`,
  });
  expect(scripted.frozen).toBe(false);
});

test('what the agent passes over is told', async () => {
  const scripted = await scriptedAgent();
  scripted.count = 1;
  await expect(freeze(scripted, ['/', '/srv'])).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});

test('a guest that is frozen already is left alone', async () => {
  const scripted = await scriptedAgent();
  scripted.frozen = true;
  await expect(freeze(scripted)).rejects.toMatchObject({ code: 'BUSY' });
  expect(scripted.frozen).toBe(true);
});

test('an agent that goes away while it thaws is asked again', async () => {
  const scripted = await scriptedAgent();
  const { agent } = await freeze(scripted);
  let first = true;
  scripted.script = (command, socket) => {
    if (command !== 'guest-fsfreeze-thaw' || !first) return undefined;
    first = false;
    socket.destroy();
    return 'handled';
  };
  expect(await thawGuest({ kind: 'socket', path: scripted.path }, agent)).toBe(1);
  expect(scripted.frozen).toBe(false);
});
