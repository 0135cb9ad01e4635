import { createHash, randomBytes } from 'node:crypto';
import { open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished } from 'vitest';
import type { BlockDevice } from '../../src/device/block-device.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import { openImage } from '../../src/image/open-image.js';
import { NbdServer } from '../../src/nbd/index.js';
import { needs } from '../support/needs.js';
import { attempt, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

/** Serves a device on a unix socket until the test ends. */
async function serving(device: BlockDevice, name = ''): Promise<{ uri: string; folder: string }> {
  const folder = await temporaryFolder();
  const exported = { name, description: 'a disk', device };
  const server = await NbdServer.listen([exported], { socketPath: join(folder, 'socket') });
  onTestFinished(async () => {
    await server.close();
    await device.close();
  });
  return { uri: server.uri, folder };
}

/** A file of `size` bytes with some data at odd places. */
async function sparseFile(folder: string, size: number): Promise<string> {
  const path = join(folder, `sparse-${size}`);
  const file = await open(path, 'w');
  await file.truncate(size);
  for (let at = 0; at < size - 100_000; at += 1_234_567) await file.write(randomBytes(70_000), 0, 70_000, at);
  await file.close();
  return path;
}

const imageAt = (path: string) => openImage(path, { access: 'write', format: 'raw' });
const digest = async (path: string) =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');

describe('nbdinfo', () => {
  const it = needs({ programs: ['nbdinfo'] });

  it('reads the size of 2^63 - 1 bytes exactly', async () => {
    const { uri } = await serving(memoryDevice(2n ** 63n - 1n));
    expect(await run('nbdinfo', ['--size', uri])).toBe('9223372036854775807');
  });

  it('reads an empty export', async () => {
    const { uri } = await serving(memoryDevice(0n));
    expect(await run('nbdinfo', ['--size', uri])).toBe('0');
  });

  it('maps data and holes', async () => {
    const device = memoryDevice(1n << 20n);
    await device.write(Buffer.alloc(8192, 1), 65_536n);
    const { uri } = await serving(device);
    const map: unknown = JSON.parse(await run('nbdinfo', ['--map', '--json', uri]));
    expect(map).toEqual([
      { offset: 0, length: 65_536, type: 3, description: 'hole,zero' },
      { offset: 65_536, length: 8192, type: 0, description: 'data' },
      { offset: 73_728, length: 974_848, type: 3, description: 'hole,zero' },
    ]);
  });

  it('finds an export by an odd name, and what it can do', async () => {
    const { uri } = await serving(memoryDevice(4096n), 'a b/ü?#%');
    const told: unknown = JSON.parse(await run('nbdinfo', ['--json', uri]));
    expect(told).toMatchObject({
      exports: [
        {
          'export-name': 'a b/ü?#%',
          description: 'a disk',
          is_read_only: false,
          can_df: true,
          can_fast_zero: true,
          can_multi_conn: true,
          can_trim: true,
          block_size_minimum: 1,
        },
      ],
    });
  });
});

describe('nbdcopy', () => {
  const it = needs({ programs: ['nbdcopy'] });

  it('copies a sparse file out and in again, and it stays sparse', async () => {
    const folder = await temporaryFolder();
    const path = await sparseFile(folder, 20_000_001);
    const copy = join(folder, 'copy');
    const { uri } = await serving(await imageAt(path));
    await run('nbdcopy', [uri, copy]);
    expect(await digest(copy)).toBe(await digest(path));
    const again = join(folder, 'again');
    await writeFile(again, '');
    await truncate(again, 20_000_001);
    const back = await serving(await imageAt(again));
    await run('nbdcopy', [copy, back.uri]);
    expect(await digest(again)).toBe(await digest(path));
    expect((await stat(again)).blocks).toBeLessThanOrEqual((await stat(path)).blocks + 64);
  });
});

describe('qemu', () => {
  const it = needs({ programs: ['qemu-img', 'qemu-io'] });

  it('qemu-img compare and convert agree with the file', async () => {
    const folder = await temporaryFolder();
    const path = await sparseFile(folder, 16 << 20);
    const same = join(folder, 'same');
    await run('cp', [path, same]);
    const { uri } = await serving(await imageAt(path));
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', same, uri]);
    const copy = join(folder, 'copy');
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri, copy]);
    expect(await digest(copy)).toBe(await digest(same));
    const map: unknown = JSON.parse(await run('qemu-img', ['map', '--output=json', '-f', 'raw', uri]));
    expect(map).toEqual(expect.arrayContaining([expect.objectContaining({ data: false, zero: true })]));
  });

  it('qemu-io writes, zeroes and discards as a model does', async () => {
    const size = 1 << 20;
    const range = fc
      .tuple(fc.nat(size / 512 - 1), fc.integer({ min: 1, max: 300 }))
      .map(([start, count]) => ({ offset: start * 512, length: Math.min(count * 512, size - start * 512) }));
    const step = fc.record({
      how: fc.constantFrom('write', 'write -f', 'write -z', 'write -z -u', 'discard', 'flush'),
      range,
      value: fc.integer({ min: 1, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 30 }), async (steps) => {
        const device = memoryDevice(BigInt(size));
        const { uri } = await serving(device);
        const model = Buffer.alloc(size);
        const commands = steps.map(({ how, range: { offset, length }, value }) => {
          if (how === 'flush') return how;
          const data = how === 'write' || how === 'write -f';
          // A discard in memory punches: it reads as zeros.
          model.fill(data ? value : 0, offset, offset + length);
          return data ? `${how} -P ${value} ${offset} ${length}` : `${how} ${offset} ${length}`;
        });
        const outcome = await attempt('qemu-io', [
          ...['-f', 'raw', '-d', 'unmap'],
          ...commands.flatMap((command) => ['-c', command]),
          uri,
        ]);
        expect(`${outcome.stdout}${outcome.stderr}`).not.toMatch(/failed|error/i);
        const bytes = Buffer.alloc(size);
        await device.read(bytes, 0n);
        expect(bytes.equals(model)).toBe(true);
      }),
      { numRuns: 8 },
    );
  });
});

describe('libnbd', () => {
  const it = needs({ programs: ['python3', 'nbdinfo'] });

  it('takes odd flags and errors for what they are', async () => {
    const { uri } = await serving(memoryDevice(1n << 20n));
    const script = `
import errno, nbd, sys
h = nbd.NBD()
h.add_meta_context("base:allocation")
h.connect_uri(sys.argv[1])
h.set_strict_mode(0)
h.pwrite(b"x" * 5000, 777, nbd.CMD_FLAG_FUA)
assert h.pread(5000, 777) == b"x" * 5000
chunks = []
assert h.pread_structured(262144, 0, lambda buf, off, status, err: chunks.append((off, len(buf), status)), 0)[777:5777] == b"x" * 5000
assert [c[2] for c in chunks] == [nbd.READ_DATA, nbd.READ_HOLE], chunks
chunks = []
h.pread_structured(262144, 0, lambda buf, off, status, err: chunks.append((off, len(buf), status)), nbd.CMD_FLAG_DF)
assert chunks == [(0, 262144, nbd.READ_DATA)], chunks
h.zero(4096, 0, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
h.zero(65536, 0, nbd.CMD_FLAG_FAST_ZERO)
h.trim(4096, 0, nbd.CMD_FLAG_FUA)
h.cache(1048576, 0)
h.flush()
found = []
h.block_status(65536, 0, lambda context, off, entries, err: found.append(entries), nbd.CMD_FLAG_REQ_ONE)
assert found == [[65536, 3]], found
def fails(expected, call, *args):
    try:
        call(*args)
    except nbd.Error as error:
        assert error.errnum == expected, (call, args, error)
    else:
        raise AssertionError((call, args))
fails(errno.ENOSPC, h.pwrite, b"xx", 1048575)
fails(errno.EINVAL, h.pread, 2, 1048575)
fails(errno.ENOSPC, h.zero, 2, 1048575)
fails(errno.EINVAL, h.trim, 2, 1048575)
fails(errno.EINVAL, h.pread, 1, 0, 1 << 14)
assert h.pread(1, 0) == b"\\0"
cookies = [h.aio_pread(nbd.Buffer(65536), i * 4096) for i in range(64)]
while any(not h.aio_command_completed(c) for c in cookies if c is not None) and h.aio_in_flight() > 0:
    h.poll(-1)
h.shutdown()
`;
    // The libnbd module belongs to Debian's own Python.
    await run('/usr/bin/python3', ['-c', script, uri]);
  });
});
