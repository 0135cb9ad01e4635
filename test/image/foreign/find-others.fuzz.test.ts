import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect } from 'vitest';
import { DiskError } from '../../../src/error/disk-error.js';
import { findOthers } from '../../../src/image/foreign/find-others.js';
import { needs, nightly } from '../../support/needs.js';
import { deviceOf } from '../../support/qcow2-builder.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['qemu-img'] });
const runs = nightly ? 20_000 : 500;

/** Where the structures lie that are looked at: bytes from the start, and how many. */
const places: Record<'vmdk' | 'vdi' | 'vpc' | 'vhdx' | 'qed' | 'parallels' | 'qcow', [number, number][]> = {
  vmdk: [[0, 2048]],
  vdi: [[0, 512]],
  vpc: [[0, 1536]],
  vhdx: [
    [192 << 10, 128],
    [2 << 20, 512],
    [(2 << 20) + (64 << 10), 64],
  ],
  qed: [[0, 64]],
  parallels: [[0, 64]],
  qcow: [[0, 64]],
};
const formats = ['vmdk', 'vdi', 'vpc', 'vhdx', 'qed', 'parallels', 'qcow'] as const;

for (const format of formats) {
  it(`${runs} changes of a ${format} header end in an answer or a DiskError`, async () => {
    const path = join(await temporaryFolder(), 'a');
    await run('qemu-img', ['create', '-q', '-f', format, path, '4M']);
    const bytes = (await readFile(path)).subarray(0, 4 << 20);
    const place = fc
      .constantFrom(...places[format])
      .chain(([start, length]) => fc.nat(length - 1).map((at) => start + at));
    const value = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff));
    const changes = fc.array(fc.tuple(place, value, fc.integer({ min: 1, max: 8 })), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(changes, async (all) => {
        const changed = Buffer.from(bytes);
        for (const [at, byte, count] of all) changed.fill(byte, at, at + count);
        await using file = await deviceOf(changed, 'a');
        try {
          await findOthers[format](file, {});
        } catch (error) {
          expect(error).toBeInstanceOf(DiskError);
        }
      }),
      { numRuns: runs },
    );
  }, 600_000);
}
