import { closeSync, constants, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { DiskError } from '../error/disk-error.js';
import { wrapSystemError } from './errno.js';
import { freezeMount, lockMemory, rehearseThaw, thawDescriptor, unlockMemory } from './freeze.js';
import { type GuardCommand, type GuardEvent, type GuardedMount, parseTask } from './freeze-guard-protocol.js';
import { findRecord, hasRecord, removeRecord, startTimeOf, type ThawReason, writeRecord } from './freeze-record.js';

/**
 * A program of its own: it freezes, and sees to it that what it froze is thawed, whatever becomes of whoever started it.
 * Only this process knows for certain what was frozen and by whom, so it also is the one that starts fsfreeze.
 *
 * Everything that it needs is open and in memory before the first freeze, and it writes no file until after the thaw.
 */
const { mounts, timeout } = parseTask(process.argv[2] ?? '');
const guard = { pid: process.pid, startTime: startTimeOf(process.pid) ?? '' };
const descriptors: { mount: GuardedMount; fd: number }[] = [];

/** What is frozen now, by us, in the order in which it was. */
const frozen: { mount: GuardedMount; fd: number }[] = [];
const stuck: string[] = [];
let freezing = true;
let released = false;
let timer: NodeJS.Timeout | undefined;
let ending: ThawReason | 'asked' | undefined;

function say(event: GuardEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

function startTimer(): void {
  clearTimeout(timer);
  if (timeout > 0) timer = setTimeout(() => end('timeout'), timeout);
}

function openMount(mountPoint: string): number {
  try {
    return openSync(mountPoint, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw wrapSystemError(`open ${mountPoint}`, error, { device: mountPoint });
  }
}

/** Thaws what is frozen, the last one first. */
function thawAll(why: ThawReason | 'asked'): void {
  const thawed: GuardedMount[] = [];
  const thawedBefore: GuardedMount[] = [];
  for (let at = frozen.pop(); at !== undefined; at = frozen.pop()) {
    try {
      // Where it was not frozen any more somebody else has thawed it, and knows.
      if (thawDescriptor(at.fd, at.mount.mountPoint)) thawed.push(at.mount);
      else thawedBefore.push(at.mount);
    } catch (error) {
      stuck.push(error instanceof Error ? error.message : String(error));
    }
  }
  for (const { device } of thawedBefore) removeRecord(device);
  for (const { id, device, mountPoint } of thawed) {
    if (why === 'asked') removeRecord(device);
    else {
      const at = Date.now();
      keepRecord({ device, mountPoint, mountId: id, guard, timeout, thawed: { why, at } });
    }
  }
}

function keepRecord(record: Parameters<typeof writeRecord>[0]): void {
  try {
    writeRecord(record);
  } catch {
    // The filesystem is thawed, which is what counts; `thaw` will say that it was not frozen.
  }
}

/** Freezes one mount. Its record is written before, for afterwards nothing may be. */
async function freezeOne(at: { mount: GuardedMount; fd: number }): Promise<void> {
  const { id, device, mountPoint } = at.mount;
  const earlier = findRecord(at.mount);
  keepRecord({ device, mountPoint, mountId: id, guard, timeout });
  try {
    await freezeMount(mountPoint);
  } catch (error) {
    // Where somebody else has it frozen, what was known of that stays known.
    if (earlier === undefined) removeRecord(device);
    else keepRecord(earlier);
    throw error;
  }
  frozen.push(at);
}

function end(why: ThawReason | 'asked'): void {
  ending ??= why;
  thawAll(ending);
  // While fsfreeze is still at work, what it freezes is thawed when it is done.
  if (freezing) return;
  say({ event: 'thawed', why: ending, stuck });
  leave();
}

function leave(): never {
  for (const { fd } of descriptors) closeSync(fd);
  unlockMemory();
  process.exit();
}

/** Ends without thawing: it has been done. */
function standDown(): never {
  for (const { mount } of frozen) removeRecord(mount.device);
  leave();
}

/** Somebody thawed one or more of them in good order, and took their records away. */
function standDownThawed(): void {
  for (const at of [...frozen]) {
    if (!hasRecord(at.mount.device)) frozen.splice(frozen.indexOf(at), 1);
  }
  if (frozen.length === 0 && !freezing) leave();
}

const commands: Readonly<Record<GuardCommand, () => void>> = {
  release: () => {
    released = true;
    say({ event: 'released' });
    // Nothing is left to do where it is never to thaw by itself.
    if (timeout === 0) leave();
  },
  'stand-down': standDown,
  thaw: () => end('asked'),
};

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => end('signal'));
process.on('SIGUSR2', standDownThawed);
// A mistake in here must not leave anything frozen either.
process.on('uncaughtException', () => end('abandoned'));
process.stdout.on('error', () => {});
const input = createInterface({ input: process.stdin });
input.on('line', (line) => {
  if (line === 'release' || line === 'stand-down' || line === 'thaw') commands[line]();
});
input.on('close', () => {
  if (!released) end('abandoned');
});

let memoryLocked = false;
try {
  for (const mount of mounts) descriptors.push({ mount, fd: openMount(mount.mountPoint) });
  rehearseThaw();
  memoryLocked = lockMemory();
  startTimer();
  for (const at of descriptors) {
    if (ending !== undefined) break;
    await freezeOne(at);
  }
  freezing = false;
} catch (error) {
  freezing = false;
  thawAll('asked');
  const facts = error instanceof DiskError ? error.toJSON() : {};
  say({
    event: 'failed',
    code: error instanceof DiskError ? error.code : 'IO',
    message: error instanceof Error ? error.message : String(error),
    errno: typeof facts.errno === 'string' ? facts.errno : undefined,
    device: typeof facts.device === 'string' ? facts.device : undefined,
    stuck,
  });
  leave();
}
if (ending !== undefined) end(ending);
startTimer();
say({ event: 'frozen', memoryLocked });
