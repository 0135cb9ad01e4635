import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect } from 'vitest';
import type { Qcow2Writer } from '../../../../src/image/qcow2/writer/qcow2-writer.js';
import { needs, nightly } from '../../../support/needs.js';
import { allBytes, openChain } from '../../../support/qcow2-image.js';
import { checked, noise, text, written } from '../../../support/qcow2-written.js';
import { run } from '../../../support/run.js';

const it = needs({ programs: ['qemu-img'] });

const most = 12 << 20;
const piece = fc.record({
  kind: fc.constantFrom('noise', 'text', 'mixed', 'byte', 'zeros', 'told zeros', 'hole'),
  clusters: fc.integer({ min: 1, max: 90 }),
  /** Bytes past whole clusters: the next piece starts in the middle of one. */
  past: fc.constantFrom(0, 0, 0, 1, 512, 300),
  /** How it is cut to calls. */
  step: fc.constantFrom(1, 3, 32, 0.3),
});
const layout = fc.record({
  clusterBits: fc.integer({ min: 9, max: 21 }),
  compression: fc.constantFrom('none', 'zlib', 'zstd'),
  backing: fc.boolean(),
  pieces: fc.array(piece, { minLength: 0, maxLength: 12 }),
  tail: fc.constantFrom(0, 0, 1, 511, 512, 1000),
  /** Whether calls wait for one another. */
  inTurn: fc.boolean(),
});
type Layout = typeof layout extends fc.Arbitrary<infer T> ? T : never;
type Piece = Layout['pieces'][number];

function contents({ kind }: Piece, length: number, clusterSize: number): Buffer {
  if (kind === 'noise') return noise(length);
  if (kind === 'text') return text(length);
  if (kind === 'byte') return Buffer.alloc(length, 7);
  if (kind !== 'mixed') return Buffer.alloc(length);
  const bytes = text(length);
  for (let at = 0; at < length; at += clusterSize * 2) bytes.set(noise(Math.min(clusterSize, length - at)), at);
  return bytes;
}

async function live({ clusterBits, compression, backing, pieces, tail, inTurn }: Layout): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'disktool-test-'));
  try {
    const clusterSize = 2 ** clusterBits;
    const parts: { piece: Piece; start: number; length: number }[] = [];
    let size = 0;
    for (const piece of pieces) {
      // Over a backing file, only whole clusters.
      const length = Math.min(piece.clusters * clusterSize + (backing ? 0 : piece.past), most - (most % clusterSize));
      if (size + length > most) continue;
      parts.push({ piece, start: size, length });
      size += length;
    }
    size += tail;
    const below = backing ? noise(size) : Buffer.alloc(size);
    const model = Buffer.from(below);
    const path = join(folder, 'a.qcow2');
    if (backing) await writeFile(join(folder, 'below.img'), Buffer.concat([below, Buffer.alloc(-size & 511)]));

    const fill = async (writer: Qcow2Writer) => {
      const calls: Promise<void>[] = [];
      const made = async (call: Promise<void>) => {
        calls.push(call);
        if (inTurn) await call;
      };
      for (const { piece, start, length } of parts) {
        if (piece.kind === 'hole') continue;
        const bytes = contents(piece, length, clusterSize);
        model.set(bytes, start);
        if (piece.kind === 'told zeros') {
          await made(writer.zero(BigInt(start), BigInt(length)));
          continue;
        }
        const step = backing || piece.step >= 1 ? Math.ceil(piece.step) * clusterSize : Math.ceil(0.3 * clusterSize);
        for (let at = 0; at < length; at += step) {
          const call = Buffer.from(bytes.subarray(at, at + step));
          await made(writer.write(call, BigInt(start + at)).then(() => void call.fill(0xee)));
        }
      }
      await Promise.all(calls);
    };
    const options = backing ? { backing: { file: 'below.img', format: 'raw' } } : {};
    const result = await written(path, { size: BigInt(size), clusterSize, compression, ...options }, fill);

    expect(BigInt((await stat(path)).size)).toBe(result.fileSize);
    expect(BigInt((await checked(path)).end)).toBe(result.fileSize);
    const whole = Buffer.concat([model, Buffer.alloc(Number(result.virtualSize) - size)]);
    const raw = join(folder, 'model.img');
    await writeFile(raw, whole);
    await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', path, raw]);
    const device = await openChain(path);
    try {
      expect(device.header).toMatchObject({ size: result.virtualSize, clusterSize, dirty: false, corrupt: false });
      expect(Buffer.compare(await allBytes(device), await readFile(raw))).toBe(0);
    } finally {
      await device.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

it('qemu-img finds no error and no leak in any layout, and it and our reader read what was written', async () => {
  await fc.assert(fc.asyncProperty(layout, live), { numRuns: nightly ? 1000 : 30 });
}, 1_800_000);
