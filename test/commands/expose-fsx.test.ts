import { constants, existsSync } from 'node:fs';
import { type FileHandle, open, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { punchHole, seekData, seekHole, zeroRange } from '../../src/host/sparse.js';
import { exposed, fuseNeeds } from '../support/exposed.js';
import { hold } from '../support/hold.js';
import { needs, nightly, type Program } from '../support/needs.js';
import { run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

/** Milliseconds of each kind of device. */
const duration = nightly ? 20_000 : 1500;
/** Steps of each part, however slow the machine is. */
const fewest = 50;
const size = 16 << 20;

/** Each disk, and how `expose` is told of it. The kernel's requests must be answered by another process than ours. */
const kinds: Readonly<Record<string, { programs: readonly Program[]; args: () => Promise<readonly string[]> }>> = {
  'memory, by several threads': { programs: [], args: async () => ['--memory', String(size)] },
  'an overlay, many requests at once': { programs: [], args: async () => ['--memory', String(size), '--cow'] },
  'an NBD export in blocks of 4 KiB': { programs: ['nbdkit'], args: blocks },
};

async function blocks(): Promise<readonly string[]> {
  const socket = join(await temporaryFolder(), 'socket');
  const policy = ['blocksize-minimum=4096', 'blocksize-error-policy=error'];
  await hold('nbdkit', ['-f', '-U', socket, '--filter=blocksize-policy', 'memory', String(size), ...policy], () =>
    existsSync(socket),
  );
  return ['--image', `nbd+unix:///?socket=${socket}`];
}

const random = (below: number) => Math.floor(Math.random() * below);

/** Changes its own part of the file at random, and reads it by whatever handle, which must show what a model holds. */
async function exercise(handles: readonly FileHandle[], start: number, length: number, until: number): Promise<void> {
  const model = Buffer.alloc(length);
  const any = () => handles[random(handles.length)] ?? handles[0];
  for (let steps = 0; steps < fewest || performance.now() < until; steps++) {
    const offset = random(length);
    const count = Math.min(1 + random(random(4) === 0 ? 300_000 : 9000), length - offset);
    const handle = any();
    if (handle === undefined) throw new Error('no handle');
    const at = BigInt(start + offset);
    switch (random(8)) {
      case 0:
      case 1: {
        const data = Buffer.alloc(count, random(256));
        data.writeUInt8(random(256), random(count));
        expect((await handle.write(data, 0, count, start + offset)).bytesWritten).toBe(count);
        data.copy(model, offset);
        break;
      }
      case 2:
        await punchHole(handle.fd, at, BigInt(count), 'it').catch(refusedOnlyAs('UNSUPPORTED'));
        await clear(handle, model, start, offset, count);
        break;
      case 3:
        await zeroRange(handle.fd, at, BigInt(count), 'it').catch(refusedOnlyAs('UNSUPPORTED'));
        await clear(handle, model, start, offset, count);
        break;
      case 4:
        await expect(handle.truncate(random(2) === 0 ? start + offset : 2 * size)).rejects.toThrow('EPERM');
        break;
      case 5: {
        // What is called a hole reads as zeros.
        const data = Number(seekData(handle.fd, at, 'it') ?? BigInt(size)) - start;
        expect(model.subarray(offset, Math.min(data, length)).every((byte) => byte === 0)).toBe(true);
        const hole = seekHole(handle.fd, at, 'it');
        expect(hole).toBeGreaterThanOrEqual(at);
        break;
      }
      case 6:
        if (random(10) === 0) await handle.sync();
        break;
      default: {
        const back = Buffer.alloc(count);
        expect((await handle.read(back, 0, count, start + offset)).bytesRead).toBe(count);
        if (!back.equals(model.subarray(offset, offset + count))) {
          throw new Error(`step ${steps}: ${count} bytes at ${start + offset} differ`);
        }
      }
    }
  }
}

const refusedOnlyAs = (code: string) => (error: unknown) => {
  expect(error).toMatchObject({ code });
};

/** Where a device does not punch, whoever asked writes zeros. */
async function clear(handle: FileHandle, model: Buffer, start: number, offset: number, count: number): Promise<void> {
  const back = Buffer.alloc(count);
  await handle.read(back, 0, count, start + offset);
  if (back.some((byte) => byte !== 0)) await handle.write(Buffer.alloc(count), 0, count, start + offset);
  model.fill(0, offset, offset + count);
}

async function shown(args: readonly string[]): Promise<{ file: string; stop: () => Promise<void> }> {
  const file = join(await temporaryFolder(), 'disk');
  const { stop } = await exposed(file, args);
  return { file, stop };
}

describe('a file that is changed at random by several, and read by others', () => {
  for (const [kind, { programs, args }] of Object.entries(kinds)) {
    needs({ ...fuseNeeds, programs })(
      `is what a model is: ${kind}`,
      async () => {
        const { file, stop } = await shown(await args());
        const handles = await Promise.all([1, 2, 3].map(() => open(file, constants.O_RDWR)));
        const until = performance.now() + duration;
        const part = size / 4;
        await Promise.all([0, 1, 2, 3].map((i) => exercise(handles, i * part + i, part - 7, until)));
        for (const handle of handles) await handle.close();
        await expect(truncate(file, 1)).rejects.toThrow('EPERM');
        await stop();
      },
      duration + 60_000,
    );
    needs({ ...fuseNeeds, programs: ['fio', ...programs] })(`passes fio --verify: ${kind}`, async () => {
      const { file, stop } = await shown(await args());
      const job = ['--name=verify', `--filename=${file}`, `--size=${size}`, '--rw=randwrite', '--direct=1'];
      const how = [
        '--bsrange=4k-256k',
        '--ioengine=libaio',
        '--iodepth=16',
        '--verify=crc32c',
        '--verify_fatal=1',
        '--verify_state_save=0',
      ];
      await run('fio', [...job, ...how, ...(nightly ? ['--loops=20'] : [])]);
      await stop();
    });
  }
});
