import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect } from 'vitest';
import { viewOf } from '../../../../src/binary/layout.js';
import { DiskError } from '../../../../src/error/disk-error.js';
import { sparsify } from '../../../../src/task/sparsify/sparsify.js';
import { undoHeader, undoRecord } from '../../../../src/task/sparsify/undo/on-disk.js';
import { restore } from '../../../../src/task/sparsify/undo/restore.js';
import { fillWithGarbage } from '../../../support/guest-disk.js';
import { needs } from '../../../support/needs.js';
import { run } from '../../../support/run.js';
import { temporaryFolder } from '../../../support/temporary.js';

const MiB = 1 << 20;
const size = MiB;
const log = MiB + size;

interface Mutation {
  readonly at: number;
  readonly bytes: Uint8Array;
}
interface Attack {
  readonly mutations: readonly Mutation[];
  /** The checksums of header and records are made right again. */
  readonly sealed: boolean;
  /** Bytes that are cut off at the end. */
  readonly cut: number;
}

const value = fc.oneof(
  fc.constantFrom([0], [1], [0x7f], [0x80], [0xff], [0xff, 0xff], [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0], [0, 0, 0, 1]),
  fc.array(fc.nat(255), { minLength: 1, maxLength: 8 }),
);

function attackOn(undoSize: number): fc.Arbitrary<Attack> {
  const place = fc.oneof(
    // Where the fields of the header, the records and their entries, and the data are.
    fc.nat(160),
    fc.nat(undoSize - log - 9).map((at) => log + at),
    fc.nat(Math.floor((undoSize - log) / 512) - 1).chain((record) => fc.nat(127).map((at) => log + record * 512 + at)),
    fc.nat(size).map((at) => MiB + at),
  );
  const mutation = fc.tuple(place, value).map(([at, bytes]) => ({ at, bytes: Uint8Array.from(bytes) }));
  return fc.record({
    mutations: fc.array(mutation, { maxLength: 3 }),
    sealed: fc.boolean(),
    cut: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat(undoSize)),
  });
}

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

/** Makes the checksums right, but for those that would need the header's own digests of the tables. */
function seal(undo: Buffer): void {
  const header = undo.subarray(0, undoHeader.fields.checksum.offset);
  if (undo.length >= undoHeader.size) undoHeader.put(viewOf(undo), { checksum: digest(header) });
  for (let at = log; at + undoRecord.size <= undo.length; at += 512) {
    if (undo.toString('latin1', at, at + 8) !== 'undo-rec') continue;
    const { type, count } = undoRecord.at(viewOf(undo), at);
    const length = count * ({ 1: 16, 2: 40, 3: 48 }[type] ?? 0);
    if (at + undoRecord.size + length > undo.length) continue;
    const entries = undo.subarray(at + undoRecord.size, at + undoRecord.size + length);
    undoRecord.put(viewOf(undo), { entriesDigest: digest(entries) }, at);
    const covered = undo.subarray(at, at + undoRecord.fields.checksum.offset);
    undoRecord.put(viewOf(undo), { checksum: digest(covered) }, at);
  }
}

/** As it is; and with a batch that has fewer pieces than it had. */
const examples: [Attack][] = [
  [{ mutations: [], sealed: false, cut: 0 }],
  [{ mutations: [{ at: log + 1036, bytes: Uint8Array.of(1) }], sealed: true, cut: 0 }],
];

async function fuzz(numRuns: number): Promise<void> {
  const folder = await temporaryFolder();
  const [image, undo] = [join(folder, 'a.img'), join(folder, 'a.undo')];
  await fillWithGarbage(image, size);
  await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-b', '1024', '-O', '^has_journal', '-E', 'nodiscard', image]);
  const original = await readFile(image);
  await sparsify(image, { undo }, {});
  const [given, whole] = await Promise.all([readFile(image), readFile(undo)]);
  expect(given.equals(original)).toBe(false);
  let restored = 0;
  await fc.assert(
    fc.asyncProperty(attackOn(whole.length), async ({ mutations, sealed, cut }) => {
      const bad = Buffer.from(whole);
      for (const { at, bytes } of mutations) bad.set(bytes.subarray(0, whole.length - at), at);
      const left = bad.subarray(0, whole.length - cut);
      if (sealed) seal(left);
      await writeFile(undo, left);
      const failure: unknown = await restore(undo, image, {}, {}).then(
        () => undefined,
        (error: unknown) => error,
      );
      const now = await readFile(image);
      if (failure !== undefined) {
        if (!(failure instanceof DiskError)) throw failure;
        expect(now.equals(given)).toBe(true);
        return;
      }
      // All of it, or, when the log was cut off before it, nothing. Whoever makes the checksums right again may leave
      // pieces out, and can put nothing in.
      if (sealed) expect(now.every((byte, i) => byte === original[i] || byte === given[i])).toBe(true);
      else expect(now.equals(original) || now.equals(given)).toBe(true);
      if (now.equals(original)) restored++;
      await writeFile(image, given);
    }),
    { numRuns, seed: 1, examples },
  );
  expect(restored).toBeGreaterThan(0);
}

const programs = ['mke2fs'] as const;

needs({ programs })(
  '500 changed undo files end in the very bytes that were, or in a DiskError',
  () => fuzz(500),
  180_000,
);
needs({ programs, nightly: true })(
  '20000 changed undo files end in the very bytes that were, or in a DiskError',
  () => fuzz(20_000),
  3_600_000,
);
