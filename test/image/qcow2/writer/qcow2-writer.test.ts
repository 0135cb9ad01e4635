import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Qcow2Writer } from '../../../../src/image/qcow2/writer/qcow2-writer.js';
import { NewFile } from '../../../../src/task/output/new-file.js';
import { needs } from '../../../support/needs.js';
import { allBytes, convertedBytes, mappedExtents, opened, qemuIo } from '../../../support/qcow2-image.js';
import { checked, noise, text, written } from '../../../support/qcow2-written.js';
import { run } from '../../../support/run.js';
import { temporaryFolder } from '../../../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io'] });
const nothing = async () => {};
const imagePath = async () => join(await temporaryFolder(), 'a.qcow2');
const compressions = ['none', 'zlib', 'zstd'] as const;

describe('sizes', () => {
  for (const size of [1, 511, 512, 513, 65535, 65537, 1_000_001]) {
    it(`keeps all ${size} bytes, and tells QEMU whole sectors`, async () => {
      const path = await imagePath();
      const bytes = text(size);
      const { virtualSize } = await written(path, { size: BigInt(size) }, (writer) => writer.write(bytes, 0n));
      expect(Number(virtualSize)).toBe(Math.ceil(size / 512) * 512);
      await checked(path);
      const disk = await convertedBytes(path);
      expect(disk.length).toBe(Number(virtualSize));
      expect(Buffer.compare(disk.subarray(0, size), bytes)).toBe(0);
      expect(disk.subarray(size).every((byte) => byte === 0)).toBe(true);
    });
  }

  it('makes a disk of no bytes', async () => {
    const path = await imagePath();
    await written(path, { size: 0n }, nothing);
    await checked(path);
    expect((await opened(path)).facts.size).toBe(0n);
    expect((await convertedBytes(path)).length).toBe(0);
  });

  for (const clusterSize of [512, 65536, 2 << 20]) {
    it(`makes a disk that nothing was written to of four clusters of ${clusterSize} bytes`, async () => {
      const path = await imagePath();
      const { fileSize } = await written(path, { size: 1n << 21n, clusterSize }, async (writer) => {
        await writer.zero(0n, 1n << 20n);
        await writer.write(new Uint8Array(1 << 19), 1n << 20n);
      });
      const l1Clusters = Math.max(1, ((1 << 21) / (clusterSize ** 2 / 8)) * (8 / clusterSize));
      expect(Number(fileSize)).toBe((3 + Math.ceil(l1Clusters)) * clusterSize);
      expect(await checked(path)).toMatchObject({ allocated: 0 });
    });
  }

  it('makes a disk of 2 EiB, the largest, with data at its start and its end', async () => {
    const path = await imagePath();
    const size = 1n << 61n;
    const cluster = 1n << 21n;
    const bytes = noise(2 << 20);
    const places = [0n, size / 3n - ((size / 3n) % cluster), size - cluster];
    const { fileSize } = await written(path, { size, clusterSize: 2 << 20 }, async (writer) => {
      for (const place of places) await writer.write(bytes, place);
    });
    // The header, the L1 table, refcounts, and a table for each of three clusters.
    expect(fileSize).toBe(cluster * BigInt(1 + 16 + 2 + 3 + 3));
    expect(await checked(path)).toMatchObject({ allocated: 3 });
    const device = await opened(path);
    expect(device.facts.size).toBe(size);
    for (const place of places) {
      const read = Buffer.alloc(bytes.length);
      await device.read(read, place);
      expect(Buffer.compare(read, bytes)).toBe(0);
    }
  });

  test('refuses disks whose L1 table QEMU would refuse, and says which clusters do', () => {
    const target = { write: nothing };
    const make = (size: bigint, clusterSize?: number) => () => new Qcow2Writer(target, { size, clusterSize });
    expect(make(1n << 51n)).not.toThrow();
    expect(make((1n << 51n) + 1n)).toThrow(/takes clusters of 131072 bytes or more, not of 65536/);
    expect(make((1n << 37n) + 1n, 512)).toThrow(/takes clusters of 1024 bytes or more, not of 512/);
    expect(make((1n << 61n) + 1n, 2 << 20)).toThrow(/at most 2305843009213693952 bytes/);
    expect(make(2n ** 63n - 1n)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  });
});

describe('refcounts', () => {
  // A refcount block tells of 256 clusters of 512 bytes, a cluster of the table of 64 blocks.
  for (const [from, to] of [
    [236, 260],
    [490, 516],
    [15_930, 15_945],
  ] as const) {
    it(`are right wherever the file ends: ${from} to ${to} clusters`, async () => {
      const path = await imagePath();
      const bytes = noise(512 * to);
      for (let clusters = from; clusters <= to; clusters++) {
        await written(path, { size: BigInt(bytes.length), clusterSize: 512 }, (writer) =>
          writer.write(bytes.subarray(0, clusters * 512), 0n),
        );
        expect(await checked(path)).toMatchObject({ allocated: clusters });
      }
    }, 60_000);
  }

  for (const compression of ['zlib', 'zstd'] as const) {
    it(`are right where compressed clusters are still to come before the end of a block: ${compression}`, async () => {
      const path = await imagePath();
      const pairs = Array.from({ length: 2000 }, () => [text(512), noise(512)]).flat();
      const bytes = Buffer.concat(pairs);
      await written(path, { size: BigInt(bytes.length), clusterSize: 512, compression }, (writer) =>
        writer.write(bytes, 0n),
      );
      expect(await checked(path)).toMatchObject({ allocated: 4000, compressed: 2000 });
      expect(Buffer.compare(await convertedBytes(path), bytes)).toBe(0);
    });
  }

  for (const compression of ['zlib', 'zstd'] as const) {
    it(`count the thousands of compressed clusters in one of the file: ${compression}`, async () => {
      const path = await imagePath();
      const clusters = compression === 'zlib' ? 3000 : 8000;
      const size = BigInt(clusters) << 16n;
      await written(path, { size, compression }, async (writer) => {
        const bytes = Buffer.alloc(64 << 16, 5);
        for (let at = 0n; at < size; at += BigInt(bytes.length)) {
          await writer.write(bytes.subarray(0, Number(size - at)), at);
        }
      });
      expect(await checked(path)).toMatchObject({ compressed: clusters });
    }, 60_000);
  }
});

describe('compression', () => {
  for (const compression of ['zlib', 'zstd'] as const) {
    it(`takes no more clusters than qemu-img convert -c does: ${compression}`, async () => {
      const path = await imagePath();
      const bytes = text(8 << 20);
      const size = BigInt(bytes.length);
      const { fileSize } = await written(path, { size, compression }, (writer) => writer.write(bytes, 0n));
      await writeFile(`${path}.raw`, bytes);
      const options = ['-O', 'qcow2', '-c', '-o', `compression_type=${compression}`];
      await run('qemu-img', ['convert', '-f', 'raw', ...options, `${path}.raw`, `${path}.qemu`]);
      const clusters = (await stat(`${path}.qemu`)).size / 65536;
      expect(Number(fileSize) / 65536).toBeLessThanOrEqual(Math.ceil(clusters));
      expect((await opened(path)).header).toMatchObject({ compression });
    });

    it(`leaves no gaps where every other cluster cannot be compressed, and stores those as they are: ${compression}`, async () => {
      const path = await imagePath();
      const pair = 128 << 10;
      const bytes = Buffer.concat(Array.from({ length: 64 }, () => [text(pair / 2), noise(pair / 2)]).flat());
      const size = BigInt(bytes.length);
      const { fileSize } = await written(path, { size, compression }, (writer) => writer.write(bytes, 0n));
      expect(await checked(path)).toMatchObject({ allocated: 128, compressed: 64 });
      expect(Buffer.compare(await convertedBytes(path), bytes)).toBe(0);
      const alone = await written(`${path}.alone`, { size, compression }, async (writer) => {
        for (let at = 0; at < bytes.length; at += pair) {
          await writer.write(bytes.subarray(at, at + pair / 2), BigInt(at));
        }
      });
      expect(Number(fileSize)).toBeLessThanOrEqual(Number(alone.fileSize) + (64 + 12) * 65536);
    });
  }
});

describe('a backing file', () => {
  it('shows wherever nothing is written, and not where zeros are', async () => {
    const path = await imagePath();
    const below = noise(10 << 16);
    await writeFile(join(path, '..', 'below.img'), below);
    const data = text(65536);
    for (const compression of compressions) {
      const options = { size: 10n << 16n, compression, backing: { file: 'below.img', format: 'raw' } };
      await written(path, options, async (writer) => {
        await writer.write(data, 1n << 16n);
        await writer.write(new Uint8Array(65536), 3n << 16n);
        await writer.zero(5n << 16n, 2n << 16n);
        await writer.write(data, 8n << 16n);
      });
      await checked(path);
      const expected = Buffer.from(below);
      expected.set(data, 1 << 16);
      expected.fill(0, 3 << 16, 4 << 16);
      expected.fill(0, 5 << 16, 7 << 16);
      expected.set(data, 8 << 16);
      expect(Buffer.compare(await convertedBytes(path), expected)).toBe(0);
      expect(JSON.parse(await run('qemu-img', ['info', '--output=json', path]))).toMatchObject({
        'backing-filename': 'below.img',
        'backing-filename-format': 'raw',
      });
    }
  });

  test('is refused when its name does not fit, before anything is written', () => {
    let writes = 0;
    const target = { write: async () => void writes++ };
    const make = (file: string, clusterSize: number, format = 'qcow2') => {
      new Qcow2Writer(target, { size: 1n, clusterSize, backing: { file, format } });
    };
    expect(() => make('a'.repeat(1023), 65536)).not.toThrow();
    expect(() => make('a'.repeat(1024), 65536)).toThrow(/has 1024 bytes: qcow2 keeps 1 to 1023/);
    expect(() => make('', 65536)).toThrow(/has 0 bytes/);
    expect(() => make('a', 65536, 'a'.repeat(16))).toThrow(/format has 16 bytes/);
    expect(() => make('a'.repeat(376), 512)).not.toThrow();
    expect(() => make('a'.repeat(377), 512)).toThrow(/377 bytes, where 376 fit into the first cluster/);
    expect(writes).toBe(0);
  });

  test('wants whole clusters, since what is under the rest is not known', async () => {
    const writer = () => new Qcow2Writer({ write: nothing }, { size: 100_000n, backing: { file: 'a', format: 'raw' } });
    const cut = writer();
    await cut.write(noise(1000), 0n);
    await expect(cut.write(noise(34_464), 65536n)).rejects.toThrow(/write whole clusters/);
    const late = writer();
    await late.write(noise(1000), 66_000n);
    await expect(late.finish()).rejects.toThrow(expect.objectContaining({ code: 'USAGE' }));
    const parts = writer();
    await parts.write(noise(1000), 0n);
    await parts.zero(1000n, 65536n);
    await parts.write(noise(33_464), 66_536n);
    await parts.finish();
  });
});

describe('whole or not at all', () => {
  for (const compression of compressions) {
    it(`writes the header last, so that a file that was left earlier is no image: ${compression}`, async () => {
      const path = await imagePath();
      const bytes = Buffer.concat([text(1 << 20), noise(1 << 20)]);
      const { writes } = await written(path, { size: 1n << 30n, compression, clusterSize: 4096 }, (writer) =>
        writer.write(bytes, 0n),
      );
      expect(writes.filter(({ offset }) => offset < 4096)).toEqual([{ offset: 0, length: 4096 }]);
      expect(writes.at(-1)?.offset).toBe(0);
      const seen = new Set<number>();
      for (const { offset, length } of writes) {
        for (let at = offset; at < offset + length; at += 4096) {
          expect(seen.has(at)).toBe(false);
          seen.add(at);
        }
      }
      const left = Buffer.from(await readFile(path)).fill(0, 0, 4096);
      await writeFile(path, left);
      await expect(opened(path)).rejects.toThrow(expect.objectContaining({ code: 'CORRUPT' }));
      expect(JSON.parse(await run('qemu-img', ['info', '--output=json', path]))).toMatchObject({ format: 'raw' });
    });
  }

  test('never writes the header once a write has failed, and takes nothing more', async () => {
    const bytes = Buffer.concat([text(1 << 18), noise(1 << 18)]);
    const live = async (compression: (typeof compressions)[number], fails: number) => {
      const offsets: bigint[] = [];
      const target = {
        async write(_: Uint8Array, offset: bigint) {
          if (offsets.length === fails) throw new Error('full');
          offsets.push(offset);
        },
      };
      const writer = new Qcow2Writer(target, { size: 1n << 30n, compression, clusterSize: 8192 });
      const outcome = (async () => {
        await writer.write(bytes, 0n);
        await writer.write(bytes, 1n << 28n);
        return await writer.finish();
      })();
      const failed = await outcome.then(
        () => false,
        (error: Error) => error.message === 'full',
      );
      if (!failed) return offsets.length;
      expect(offsets).not.toContain(0n);
      await expect(writer.finish()).rejects.toThrow(/full|failed/);
      return undefined;
    };
    for (const compression of compressions) {
      const all = (await live(compression, -1)) ?? 0;
      expect(all).toBeGreaterThan(7);
      for (let fails = 0; fails < all; fails++) expect(await live(compression, fails)).toBeUndefined();
      expect(await live(compression, all)).toBe(all);
    }
  });

  test('ends by its signal', async () => {
    const stop = new AbortController();
    const writer = new Qcow2Writer({ write: nothing }, { size: 1n << 30n, signal: stop.signal });
    await writer.write(noise(65536), 0n);
    stop.abort();
    await expect(writer.finish()).rejects.toThrow(expect.objectContaining({ code: 'CANCELLED' }));
  });

  it('goes to a new file that has its name once it is whole', async () => {
    const path = await imagePath();
    const bytes = noise(3_000_000);
    const file = await NewFile.create(path, { name: path, size: 0n, replace: false, onWarning: () => {} });
    const writer = new Qcow2Writer(file, { size: 3_000_000n, compression: 'zlib' });
    await writer.write(bytes, 0n);
    const { fileSize } = await writer.finish();
    await expect(stat(path)).rejects.toThrow('ENOENT');
    await file.finish();
    expect(BigInt((await stat(path)).size)).toBe(fileSize);
    await checked(path);
    expect(Buffer.compare((await allBytes(await opened(path))).subarray(0, bytes.length), bytes)).toBe(0);
  });
});

test('takes bytes in ascending order inside the disk, until it is finished', async () => {
  const make = () => new Qcow2Writer({ write: nothing }, { size: 100_000n });
  const back = make();
  await back.write(noise(512), 512n);
  await expect(back.write(noise(512), 0n)).rejects.toThrow(/bytes 0 to 512, where 1024 to 100000/);
  await expect(make().write(noise(512), 99_999n)).rejects.toThrow(RangeError);
  await expect(make().zero(99_999n, 2n)).rejects.toThrow(RangeError);
  const finished = make();
  await finished.write(noise(70_000), 0n);
  await finished.finish();
  await expect(finished.write(noise(512), 80_000n)).rejects.toThrow(/finished/);
});

for (const compression of compressions) {
  it(`carries out calls that are made at once in their order, and keeps what each has lent: ${compression}`, async () => {
    const path = await imagePath();
    const bytes = Buffer.concat([text(3 << 20), noise(3 << 20), Buffer.alloc(1 << 20), text(1 << 20)]);
    await written(path, { size: BigInt(bytes.length), compression }, (writer) => {
      const calls: Promise<void>[] = [];
      for (let at = 0; at < bytes.length; at += 300_000) {
        const lent = Buffer.from(bytes.subarray(at, at + 300_000));
        calls.push(writer.write(lent, BigInt(at)).then(() => void lent.fill(0xee)));
      }
      return Promise.all(calls);
    });
    await checked(path);
    expect(Buffer.compare(await convertedBytes(path), bytes)).toBe(0);
  });
}

test('has nothing under way any more once it has been abandoned, and writes no header', async () => {
  let underWay = 0;
  const offsets: bigint[] = [];
  const target = {
    async write(_: Uint8Array, offset: bigint) {
      underWay++;
      offsets.push(offset);
      await new Promise((resolve) => setImmediate(resolve));
      underWay--;
    },
  };
  for (const compression of compressions) {
    const writer = new Qcow2Writer(target, { size: 1n << 30n, compression, clusterSize: 4096 });
    const bytes = Buffer.concat([text(1 << 20), noise(1 << 20)]);
    const calls = [0n, 1n << 28n, 1n << 29n].map((offset) => writer.write(bytes, offset));
    const ended = Promise.allSettled([...calls, writer.finish()]);
    await writer.abandon();
    expect(underWay).toBe(0);
    expect((await ended).at(-1)).toMatchObject({ status: 'rejected' });
  }
  expect(offsets).not.toContain(0n);
});

test('refuses clusters that qcow2 has not', () => {
  for (const clusterSize of [256, 4 << 20, 65_535, 0]) {
    expect(() => new Qcow2Writer({ write: nothing }, { size: 1n, clusterSize })).toThrow(/no clusters of/);
  }
});

it('maps what was written as data, and the rest as holes', async () => {
  const path = await imagePath();
  await written(path, { size: 10n << 20n }, async (writer) => {
    await writer.write(noise(1 << 20), 1n << 20n);
    await writer.write(Buffer.concat([new Uint8Array(1 << 20), noise(1 << 20)]), 4n << 20n);
  });
  const mib = 1 << 20;
  const data = (start: number) => ({ start: start * mib, end: (start + 1) * mib, allocated: true, zero: false });
  const hole = (start: number, end: number) => ({ start: start * mib, end: end * mib, allocated: false, zero: true });
  expect(await mappedExtents(path)).toEqual([hole(0, 1), data(1), hole(2, 5), data(5), hole(6, 10)]);
});

for (const compression of compressions) {
  it(`makes what QEMU goes on writing to: ${compression}`, async () => {
    const path = await imagePath();
    const bytes = text(4 << 20);
    await written(path, { size: 64n << 20n, compression }, (writer) => writer.write(bytes, 0n));
    await qemuIo(path, ['write -P 1 100k 500k', 'write -P 2 40M 1M', 'discard 1M 1M', 'write -z 3M 64k']);
    await run('qemu-img', ['snapshot', '-c', 'one', path]);
    await qemuIo(path, ['write -P 3 0 2M']);
    await run('qemu-img', ['resize', '-q', '-f', 'qcow2', path, '200M']);
    await checked(path);
    const disk = await convertedBytes(path);
    expect(disk.subarray(0, 2 << 20).every((byte) => byte === 3)).toBe(true);
    expect(Buffer.compare(disk.subarray(2 << 20, 3 << 20), bytes.subarray(2 << 20, 3 << 20))).toBe(0);
  });
}

it('makes no image of a file that was cut', async () => {
  const path = await imagePath();
  const bytes = noise(1 << 20);
  const { fileSize } = await written(path, { size: 1n << 20n }, (writer) => writer.write(bytes, 0n));
  await truncate(path, Number(fileSize) - 65536);
  await expect(checked(path)).rejects.toThrow();
});
