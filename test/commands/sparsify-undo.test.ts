import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { guestDiskPrograms, makeGuestDisk } from '../support/guest-disk.js';
import { needs } from '../support/needs.js';
import { attempt, disktool, disktoolHere, disktoolPath, run } from '../support/run.js';

const it = needs({ programs: guestDiskPrograms });
const MiB = 1 << 20;

async function guest(size = 64 * MiB) {
  const { image } = await makeGuestDisk({ size });
  const folder = dirname(image);
  const original = join(folder, 'original.img');
  await run('cp', ['--sparse=never', image, original]);
  return { image, original, undo: join(folder, 'guest.undo') };
}

it('says what is kept and how it comes back, and then that it has', async () => {
  const { image, original, undo } = await guest();
  const given = await disktool(['sparsify', '--quiet', '--verify', '--undo', undo, image]);
  expect(given).toMatchObject({ status: 0, stderr: '' });
  expect(given.stdout).toMatch(/what is in use is the same, sha256 [0-9a-f]{64}\n/);
  expect(given.stdout).toMatch(/guest\.undo: keeps \S+: sparsify --restore \S+guest\.undo \S+guest\.img puts it back$/);
  const foretold = await disktoolHere(['sparsify', '--quiet', '--dry-run', '--restore', undo, image]);
  expect(foretold).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/guest\.img: \S+ would be put back; nothing was changed$/),
  });
  const restored = await disktoolHere(['sparsify', '--quiet', '--restore', undo, image]);
  expect(restored).toMatchObject({ status: 0, stdout: expect.stringMatching(/guest\.img: \S+ put back$/) });
  await run('cmp', [image, original]);
});

it('writes one JSON document of either, with exact numbers', async () => {
  const { image, undo } = await guest();
  const given = JSON.parse((await disktoolHere(['sparsify', '--json', '--verify', '--undo', undo, image])).stdout);
  expect(given.images).toMatchObject([
    { image, undo, kept: expect.any(Number), digest: expect.stringMatching(/^[0-9a-f]{64}$/) },
  ]);
  const restored = JSON.parse((await disktoolHere(['sparsify', '--json', '--restore', undo, image])).stdout);
  expect(restored).toEqual({
    images: [
      { image, undo, dryRun: false, size: 64 * MiB, restored: given.images[0].kept, present: 0, complete: true },
    ],
  });
  await run('dd', [`if=/dev/urandom`, `of=${image}`, 'bs=1', 'count=4', 'seek=1049700', 'conv=notrunc', 'status=none']);
  const refused = await disktoolHere(['sparsify', '--json', '--restore', undo, image]);
  expect(refused.status).toBe(1);
  expect(JSON.parse(refused.stdout)).toMatchObject({ code: 'UNSAFE', reason: 'changed-in-use', device: image });
});

it('verifies the copy that --output and copy --sparsify make', async () => {
  const { image, undo } = await guest(48 * MiB);
  const out = `${undo}.img`;
  const sha = /what is in use is the same, sha256 [0-9a-f]{64}$/;
  expect(await disktoolHere(['sparsify', '-q', '--verify', image, '--output', out])).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(sha),
  });
  expect(await disktoolHere(['copy', '-q', '--sparsify', '--verify', '--force', image, out])).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(sha),
  });
});

it('refuses what does not go together with status 2', async () => {
  for (const [args, word] of [
    [['sparsify', '--undo', 'u', 'a', 'b'], '--undo takes one image'],
    [['sparsify', '--restore', 'u', 'a', 'b'], '--restore takes one image'],
    [['sparsify', '--undo', 'u', '--output', 'o', 'a'], '--output'],
    [['sparsify', '--undo', 'u', '--dry-run', 'a'], '--dry-run'],
    [['sparsify', '--verify', '--dry-run', 'a'], '--dry-run'],
    [['sparsify', '--restore', 'u', '--undo', 'v', 'a'], '--undo'],
    [['sparsify', '--restore', 'u', '--zero', 'sda1', 'a'], '--zero'],
    [['sparsify', '--restore', 'u', '--snapshot', 's', 'a'], '--snapshot'],
    [['sparsify', '--restore', 'u', '--ignore', 'sda1', 'a'], '--ignore'],
    [['sparsify', '--restore', 'u', '--no-replay', 'a'], '--no-replay'],
    [['sparsify', '--output', 'o', '--dry-run', 'a'], '--dry-run'],
    [['sparsify', '--restore', 'u', '-U', '-n', 'a'], '--force-share'],
    [['copy', '--verify', 'a', 'b'], '--sparsify'],
  ] as const) {
    const { status, stderr } = await disktoolHere(args);
    expect({ args, status }).toEqual({ args, status: 2 });
    expect(stderr).toContain(word);
  }
});

/** Starts disktool, and ends it by a signal some milliseconds after it has come to a phase. */
async function stopped(args: readonly string[], signal: NodeJS.Signals, phase: string, after: number): Promise<void> {
  const child = spawn(process.execPath, [disktoolPath, ...args, '--progress', 'json'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'close');
  for await (const line of createInterface(child.stderr)) {
    if (!line.includes(`"phase":"${phase}`)) continue;
    await sleep(after);
    child.kill(signal);
    break;
  }
  child.stderr.resume();
  await ended;
}

const differ = async (a: string, b: string) => (await attempt('cmp', [a, b])).status === 1;

/** Cuts a run off and puts back what it gave back. True when it had given back some of it, and not all. */
async function cutOff(
  { image, original, undo }: Awaited<ReturnType<typeof guest>>,
  ...[signal, phase, after]: [NodeJS.Signals, string, number]
): Promise<boolean> {
  await run('cp', ['--sparse=never', original, image]);
  await rm(undo, { force: true });
  await stopped(['sparsify', '--undo', undo, image], signal, phase, after);
  const changed = await differ(image, original);
  const there = await access(undo).then(
    () => true,
    () => false,
  );
  let complete = false;
  if (there) {
    const { status, stdout, stderr } = await disktoolHere(['sparsify', '--quiet', '--restore', undo, image]);
    // Of a file that was cut off before its first part, it says why nothing comes back: nothing was given back.
    if (status !== 0) expect(stderr).toContain('before anything was given back');
    else complete = !stdout.includes('was cut short');
  }
  await run('cmp', [image, original]);
  return changed && !complete;
}

needs({ programs: guestDiskPrograms, slow: true })(
  'whenever it is killed, all that was given back comes back',
  async () => {
    const disk = await guest(160 * MiB);
    let cut = 0;
    for (let i = 0; i < 6; i++) if (await cutOff(disk, 'SIGKILL', 'giving back', i * 40)) cut++;
    for (let i = 0; i < 2; i++) if (await cutOff(disk, 'SIGKILL', 'hashing', i * 160)) cut++;
    expect(cut).toBeGreaterThan(1);
  },
  600_000,
);

needs({ programs: guestDiskPrograms, slow: true })(
  'putting back that is killed can be done again, whenever that was',
  async () => {
    const { image, original, undo } = await guest(160 * MiB);
    const given = `${image}.given`;
    await disktoolHere(['sparsify', '--quiet', '--undo', undo, image]);
    await run('cp', ['--sparse=always', image, given]);
    const args = ['sparsify', '--restore', undo, image];
    let cut = 0;
    for (let i = 0; i < 6; i++) {
      await run('cp', ['--sparse=always', given, image]);
      await stopped(args, 'SIGKILL', i % 2 === 0 ? 'putting back' : 'looking at', i * 20);
      if ((await differ(image, given)) && (await differ(image, original))) cut++;
      expect(await disktoolHere(args)).toMatchObject({ status: 0 });
      await run('cmp', [image, original]);
    }
    expect(cut).toBeGreaterThan(0);
  },
  600_000,
);

it('ended by SIGTERM it leaves a whole image, and an undo file of what was given back', async () => {
  const disk = await guest(96 * MiB);
  for (const phase of ['hashing', 'giving back']) await cutOff(disk, 'SIGTERM', phase, 0);
});
