import { open } from 'node:fs/promises';
import type { Qcow2WriterOptions } from '../../src/image/qcow2/writer/plan.js';
import { Qcow2Writer, type Qcow2Written } from '../../src/image/qcow2/writer/qcow2-writer.js';
import { run } from './run.js';

/** A write to the file: where, and how much. */
export interface Recorded {
  offset: number;
  length: number;
}

/** Makes an image of what `fill` writes, and tells what was written to the file. */
export async function written(
  path: string,
  options: Qcow2WriterOptions,
  fill: (writer: Qcow2Writer) => Promise<unknown>,
): Promise<Qcow2Written & { writes: Recorded[] }> {
  const file = await open(path, 'w');
  try {
    const writes: Recorded[] = [];
    const target = {
      async write(from: Uint8Array, offset: bigint) {
        writes.push({ offset: Number(offset), length: from.length });
        await file.write(from, 0, from.length, Number(offset));
      },
    };
    const writer = new Qcow2Writer(target, options);
    await fill(writer);
    return { ...(await writer.finish()), writes };
  } finally {
    await file.close();
  }
}

export interface Check {
  allocated: number;
  compressed: number;
  end: number;
}

/** That qemu-img finds neither an error nor a leak; what it counts. */
export async function checked(path: string): Promise<Check> {
  const found = JSON.parse(await run('qemu-img', ['check', '-f', 'qcow2', '--output=json', path]));
  const wrong = ['check-errors', 'corruptions', 'leaks'].filter((what) => (found[what] ?? 0) !== 0);
  if (wrong.length > 0) throw new Error(`qemu-img check finds ${wrong.join(', ')}: ${JSON.stringify(found)}`);
  return {
    allocated: found['allocated-clusters'] ?? 0,
    compressed: found['compressed-clusters'] ?? 0,
    end: found['image-end-offset'],
  };
}

let state = 1;
/** Bytes that nothing makes shorter. */
export function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) {
    state = (state * 48271) % 0x7fffffff;
    bytes[i] = state & 0xff;
  }
  return bytes;
}

/** Bytes that become about a third. */
export function text(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i += 4) {
    state = (state * 48271) % 0x7fffffff;
    bytes.write(`${state % 97} ok`, i);
  }
  return bytes;
}
