import fc from 'fast-check';
import { expect, test } from 'vitest';
import { memoryDevice } from '../../src/device/memory-device.js';
import { containers } from '../../src/filesystem/signature/containers.js';
import { filesystems } from '../../src/filesystem/signature/filesystems.js';
import * as structures from '../../src/filesystem/signature/on-disk.js';
import { identify } from '../../src/guest/content.js';
import { fieldChange } from '../support/field-changes.js';
import { needs } from '../support/needs.js';

const size = 2 << 20;
const marks = [...containers, ...filesystems].flatMap((signature) =>
  signature.marks.map((mark) => ({ signature, mark })),
);

/** Every structure that is looked into when a magic number stands in the right place: its fields, at its start. */
const layouts = Object.values(structures).filter((value) => typeof value === 'object' && 'fields' in value);

async function fuzz(runs: number): Promise<void> {
  const kinds = new Set<string>();
  const change = fc.record({
    which: fc.constantFrom(...marks),
    junk: fc.uint8Array({ minLength: 0, maxLength: 64 }),
    fields: fc.array(fieldChange(layouts.map((layout) => ({ layout, base: 0 }))), { maxLength: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
      await using device = memoryDevice(BigInt(size));
      for (const { which, junk, fields } of changes) {
        const { signature, mark } = which;
        const from = mark.from === 'start' ? mark.base : (BigInt(size) / mark.unit) * mark.unit - mark.base;
        if (from < 0n || from + 8192n > BigInt(size)) continue;
        const structure = new Uint8Array(8192);
        structure.set(junk, signature.size === undefined ? 0 : signature.size % 4096);
        for (const { apply } of fields) apply(structure);
        structure.set(mark.magic, mark.inside);
        await device.write(structure, from);
      }
      const { kind } = await identify(device, undefined);
      kinds.add(kind);
    }),
    { numRuns: runs, seed: 1 },
  );
  expect([...kinds].toSorted()).toEqual(['ambiguous', 'damaged', 'recognised', 'swap', 'unknown']);
}

test('500 devices with signatures over damaged structures are identified', () => fuzz(500));
needs({ nightly: true })(
  '20000 devices with signatures over damaged structures are identified',
  () => fuzz(20_000),
  1_800_000,
);
