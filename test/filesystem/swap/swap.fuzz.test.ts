import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect } from 'vitest';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { DiskError } from '../../../src/error/disk-error.js';
import {
  swapHeader,
  swapHeaderOffset,
  swapSignature,
  swapSignatureSize,
} from '../../../src/filesystem/swap/on-disk.js';
import { openSwap } from '../../../src/filesystem/swap/swap.js';
import { fieldChange, type Structure } from '../../support/field-changes.js';
import { needs } from '../../support/needs.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const size = 256 << 10;
const pageSize = 4096;
const structures: readonly Structure[] = [
  { layout: swapHeader, base: swapHeaderOffset },
  { layout: swapSignature, base: pageSize - swapSignatureSize },
];

async function fuzz(runs: number): Promise<void> {
  const path = join(await temporaryFolder(), 'swap');
  await writeFile(path, '', { mode: 0o600 });
  await truncate(path, size);
  await run('mkswap', ['-p', String(pageSize), path]);
  const good = Uint8Array.from(await readFile(path));
  await using device = memoryDevice(BigInt(size));
  await fc.assert(
    fc.asyncProperty(fc.array(fieldChange(structures), { minLength: 1, maxLength: 3 }), async (changes) => {
      const image = Uint8Array.from(good);
      for (const { apply } of changes) apply(image);
      await device.write(image, 0n);
      const swap = await openSwap(device).catch((error: unknown) => {
        if (error instanceof DiskError) return undefined;
        throw error;
      });
      // Whatever it says, its header is never free, and nothing is that is not there.
      const free = swap === undefined || swap.size > device.facts.size ? [] : [...swap.freeSpace()];
      for (const { offset, length } of free) {
        expect(offset).toBeGreaterThanOrEqual(BigInt(pageSize));
        expect(offset + length).toBeLessThanOrEqual(device.facts.size);
      }
    }),
    { numRuns: runs, seed: 1 },
  );
}

const programs = ['mkswap'] as const;
needs({ programs })('500 changes of fields of a swap area end in an answer or a DiskError', () => fuzz(500));
needs({ programs, nightly: true })(
  '20000 changes of fields of a swap area end in an answer or a DiskError',
  () => fuzz(20_000),
  600_000,
);
