import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, vi } from 'vitest';
import { findAgentRecord, settleAddress } from '../../src/machine/agent-record.js';
import { BlockBackup, guestDisks } from '../../src/machine/block-backup.js';
import { isGuestFrozen, openAgent } from '../../src/machine/guest-freeze.js';
import { Qmp } from '../../src/machine/qmp.js';
import { hold } from '../support/hold.js';
import { until } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { attempt, disktool, disktoolPath, run } from '../support/run.js';
import { type RunningGuest, runningGuest, runningGuestPrograms } from '../support/running-guest.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: [...runningGuestPrograms, 'dumpe2fs', 'e2fsck', 'debugfs'], guest: true, slow: true });
/** Where e2fsprogs find the guest's root in a raw image. */
const root = (image: string) => `${image}?offset=${1 << 20}`;

it('a real guest stands still while its agent has it frozen, and a copy taken then needs no recovery', async () => {
  const folder = await temporaryFolder();
  // Of records, for who is not root.
  vi.stubEnv('XDG_RUNTIME_DIR', folder);
  onTestFinished(() => void vi.unstubAllEnvs());
  const guest = await runningGuest(folder);
  await standsStillForACommand(guest);
  await staysFrozenUntilThaw(guest);
  await isThawedWhenDisktoolIsKilled(guest, join(folder, 'started'));
  await isThawedAfterItsGuardWasKilled(guest);
  for (const format of ['qcow2', 'raw']) await isCopiedAtRest(guest, folder, format);
  await needsRecoveryElsewise(guest, folder);
}, 240_000);

async function digestOf(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

const frozen = async ({ agent: path }: RunningGuest) => {
  const agent = await openAgent({ kind: 'socket', path });
  try {
    return await isGuestFrozen(agent);
  } finally {
    agent.close();
  }
};

/** What a guest had written when it was frozen it may say later. */
function expectOneMoreAtMost(before: number, after: number): void {
  expect(after - before).toBeOneOf([0, 1]);
}

async function standsStillForACommand(guest: RunningGuest): Promise<void> {
  const look = 'sha256sum < "$0"; grep -ao "^round [0-9]*[.]" "$1" | tail -n 1';
  const script = `${look}; sleep 2; ${look}`;
  const args = ['freeze', '--agent', guest.agent, '--', 'sh', '-c', script, guest.image, guest.console];
  const { status, stdout, stderr } = await disktool(args);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const seen = /^([0-9a-f]{64}) .*\nround (\d+)\.\n\1 .*\nround (\d+)\.$/.exec(stdout);
  if (seen === null) throw new Error(`the image has changed: ${stdout}`);
  expectOneMoreAtMost(Number(seen[2]), Number(seen[3]));
  expect(await frozen(guest)).toBe(false);
  await guest.goesOn();
}

async function staysFrozenUntilThaw(guest: RunningGuest): Promise<void> {
  const { agent, image } = guest;
  const freezing = await disktool(['freeze', '--agent', agent]);
  expect(freezing).toMatchObject({ status: 0, stdout: expect.stringContaining('frozen, thaws by itself in') });
  const [digest, round] = [await digestOf(image), await guest.round()];
  const state = await disktool(['freeze', '--status', '--agent', agent, '--json']);
  expect(JSON.parse(state.stdout)).toMatchObject({ mounts: [{ state: 'frozen', by: 'disktool' }] });
  expect(await digestOf(image)).toEqual(digest);
  expectOneMoreAtMost(round, await guest.round());
  expect(await disktool(['thaw', '--agent', agent])).toMatchObject({ status: 0 });
  expect(await frozen(guest)).toBe(false);
  await guest.goesOn();
}

async function isThawedWhenDisktoolIsKilled(guest: RunningGuest, started: string): Promise<void> {
  const command = ['sh', '-c', 'touch "$0"; exec sleep 3', started];
  const args = [disktoolPath, 'freeze', '--agent', guest.agent, '--', ...command];
  const { end } = await hold(process.execPath, args, () => existsSync(started));
  await end();
  await guest.goesOn();
  expect(await frozen(guest)).toBe(false);
}

async function isThawedAfterItsGuardWasKilled(guest: RunningGuest): Promise<void> {
  const { agent } = guest;
  expect(await disktool(['freeze', '--agent', agent])).toMatchObject({ status: 0 });
  const record = findAgentRecord(settleAddress({ kind: 'socket', path: agent }));
  if (record === undefined) throw new Error('the guard has left no record');
  process.kill(record.guard.pid, 'SIGKILL');
  await until(() => !existsSync(`/proc/${record.guard.pid}`));
  expect(await frozen(guest)).toBe(true);
  expect(await disktool(['thaw', '--agent', agent])).toMatchObject({ status: 0, stderr: '' });
  expect(await frozen(guest)).toBe(false);
  await guest.goesOn();
}

async function isCopiedAtRest(guest: RunningGuest, folder: string, format: string): Promise<void> {
  const { image, agent, qmp } = guest;
  const copy = join(folder, `copy.${format}`);
  const files = await readdir(folder);
  const written = await guest.round();
  const args = ['snapshot', image, copy, '--agent', agent, '--qmp', qmp, '--convert', format];
  const { status, stdout, stderr } = await disktool(args);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(new RegExp(`${format}, 64M; frozen for [0-9.]+ m?s: guest agent at `));
  await guest.goesOn();
  const raw = await checked(copy, format, folder);
  expect(await features(raw)).not.toContain('needs_recovery');
  expect(await attempt('e2fsck', ['-fn', root(raw)])).toMatchObject({ status: 0 });
  // What the guest had in its memory alone is in the copy too.
  const inCopy = Number(await run('debugfs', ['-R', 'cat /srv/round', root(raw)]));
  expect(inCopy).toBeGreaterThanOrEqual(written);
  expect(inCopy).toBeLessThanOrEqual((await guest.round()) + 1);
  expect((await readdir(folder)).filter((name) => !files.includes(name) && !raw.endsWith(name))).toEqual(
    format === 'raw' ? [] : [`copy.${format}`],
  );
}

/** The same without a freeze shows that it is the freeze that does it. */
async function needsRecoveryElsewise(guest: RunningGuest, folder: string): Promise<void> {
  const copy = join(folder, 'unfrozen.qcow2');
  const qmp = await Qmp.connect(guest.qmp);
  const target = await open(copy, 'w+');
  try {
    const [disk] = await guestDisks(qmp);
    if (disk === undefined) throw new Error('the guest has no disk');
    await using backup = await BlockBackup.prepare(qmp, { format: 'qcow2', fd: target.fd, size: disk.size });
    await backup.start(disk);
    await backup.finish(undefined, () => {});
  } finally {
    await target.close();
    qmp.close();
  }
  expect(await features(await checked(copy, 'qcow2', folder))).toContain('needs_recovery');
  expect(await attempt('qemu-img', ['compare', copy, join(folder, 'copy.qcow2')])).toMatchObject({ status: 1 });
}

/** @returns the same as a raw image */
async function checked(copy: string, format: string, folder: string): Promise<string> {
  if (format === 'raw') return copy;
  expect(await attempt('qemu-img', ['check', '-f', format, copy])).toMatchObject({ status: 0 });
  const raw = join(folder, 'checked.img');
  await run('qemu-img', ['convert', '-f', format, '-O', 'raw', copy, raw]);
  return raw;
}

const features = async (raw: string) =>
  /^Filesystem features:\s+(.*)$/m.exec(await run('dumpe2fs', ['-h', root(raw)]))?.[1];
