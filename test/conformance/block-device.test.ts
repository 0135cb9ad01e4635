import { open as openPath } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { viewOf } from '../../src/binary/layout.js';
import { Placement } from '../../src/binary/placement.js';
import { RangeSet } from '../../src/binary/range-set.js';
import { FileDevice } from '../../src/device/file-device.js';
import { HostBlockDevice } from '../../src/device/host-block-device.js';
import { CowLayer } from '../../src/device/layer/cow.js';
import { DelayLayer } from '../../src/device/layer/delay.js';
import { ErrorLayer } from '../../src/device/layer/error.js';
import { HolesLayer } from '../../src/device/layer/holes.js';
import { Joined } from '../../src/device/layer/joined.js';
import { LogLayer } from '../../src/device/layer/log.js';
import { RateLayer } from '../../src/device/layer/rate.js';
import { RoundLayer } from '../../src/device/layer/round.js';
import { Slice } from '../../src/device/layer/slice.js';
import { StatsLayer } from '../../src/device/layer/stats.js';
import { UnalignedLayer } from '../../src/device/layer/unaligned.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import { JournalBlocks } from '../../src/filesystem/ext/journal/journal-blocks.js';
import { journalMagic } from '../../src/filesystem/ext/journal/on-disk.js';
import { ReplayedView } from '../../src/filesystem/ext/journal/replayed-view.js';
import { FileContent } from '../../src/filesystem/file-content.js';
import { loopDevice } from '../support/loop-device.js';
import { needs } from '../support/needs.js';
import { describeBlockDevice, describeReadOnlyDevice } from './block-device.js';

const openFd = promisify(openPath);

/** Runs `cleanUp` when the device has been closed. */
function afterClose<Device extends FileDevice>(device: Device, cleanUp: () => Promise<unknown>): Device {
  const close = device.close.bind(device);
  let closed: Promise<void> | undefined;
  device.close = () => {
    closed ??= close().finally(cleanUp);
    return closed;
  };
  return device;
}

async function fileDevice(size: bigint, flags: 'r' | 'r+'): Promise<FileDevice> {
  const folder = await mkdtemp(join(tmpdir(), 'disktool-test-'));
  const path = join(folder, 'a.img');
  await writeFile(path, '');
  await truncate(path, Number(size));
  const fd = await openFd(path, flags);
  await rm(folder, { recursive: true });
  return new FileDevice(fd, { name: path, size, writable: flags === 'r+', blockSize: 4096 });
}

describeBlockDevice({
  name: 'FileDevice',
  open: (size) => fileDevice(size, 'r+'),
  openReadOnly: (size) => fileDevice(size, 'r'),
  sizes: [0n, 1n, 511n, 2n ** 43n + 1n],
  room: 40n << 20n,
});

describeBlockDevice({ name: 'FileDevice in memory', open: async (size) => memoryDevice(size), room: 40n << 20n });

/** A slice that closes what it stands on, for the suite only. */
class OwningSlice extends Slice {
  constructor(
    private readonly owned: FileDevice,
    offset: bigint,
    length: bigint,
  ) {
    super(owned, offset, length);
  }

  protected override doClose(): Promise<void> {
    return this.owned.close();
  }
}

describeBlockDevice({
  name: 'Slice at an odd offset of memory',
  open: async (size) => {
    const room = 2n ** 63n - 1n - size;
    const before = room < 1537n ? room : 1537n;
    const after = room - before < 4095n ? room - before : 4095n;
    return new OwningSlice(memoryDevice(before + size + after), before, size);
  },
  openReadOnly: async (size) => new Slice(await fileDevice(size + 513n, 'r'), 513n, size),
});

/** The halves of a disk, the second first, then what is left of it in stripes where it comes to some. */
function shuffled(size: bigint): Placement {
  const half = size / 2n;
  const stripes = size - half - ((size - half) % (3n * 512n));
  const rest = size - half - stripes;
  return new Placement(
    [
      { length: half, stripeSize: 1n, areas: [size - half] },
      { length: stripes, stripeSize: 512n, areas: [2n, 0n, 1n].map((area) => (area * stripes) / 3n) },
      { length: rest, stripeSize: 1n, areas: [stripes] },
    ].filter(({ length }) => length > 0n),
  );
}

/** A joined device that closes what it stands on, for the suite only. */
class OwningJoined extends Joined {
  constructor(private readonly owned: FileDevice) {
    super(owned, shuffled(owned.facts.size), `shuffled ${owned.name}`);
  }

  protected override doClose(): Promise<void> {
    return this.owned.close();
  }
}

describeBlockDevice({
  name: 'Joined over memory',
  open: async (size) => new OwningJoined(memoryDevice(size)),
  openReadOnly: async (size) => new OwningJoined(await fileDevice(size, 'r')),
});

/** Memory that takes whole blocks alone, as some NBD servers do. */
class InBlocks extends Slice {
  constructor(private readonly owned: FileDevice) {
    super(owned, 0n, owned.facts.size);
    Object.assign(this, { facts: { ...this.facts, blockSize: { ...this.facts.blockSize, minimum: 4096 } } });
  }

  protected override doClose(): Promise<void> {
    return this.owned.close();
  }
}

describeBlockDevice({
  name: 'UnalignedLayer over memory in blocks',
  open: async (size) => new UnalignedLayer(new InBlocks(memoryDevice(size))),
  openReadOnly: async (size) => new UnalignedLayer(new InBlocks(await fileDevice(size, 'r'))),
});

/** A block device of the kernel over a file of its own, without asking for module or name. */
async function blockDevice(size: bigint, writable: boolean): Promise<FileDevice> {
  const folder = await mkdtemp(join(tmpdir(), 'disktool-test-'));
  const path = join(folder, 'a.img');
  await writeFile(path, '');
  await truncate(path, Number(size));
  const loop = await loopDevice(path, ...(writable ? [] : ['--read-only']));
  await rm(folder, { recursive: true });
  const fd = await openFd(loop.path, writable ? 'r+' : 'r');
  return afterClose(new HostBlockDevice(fd, { name: loop.path, writable }), loop.detach);
}

describeBlockDevice({
  name: 'HostBlockDevice',
  open: (size) => blockDevice(size, true),
  openReadOnly: (size) => blockDevice(size, false),
  sizes: [512n, 2n ** 43n],
  it: needs({ programs: ['losetup'], root: true }),
});

describeBlockDevice({
  name: 'CowLayer over memory',
  open: async (size) => new CowLayer(memoryDevice(size), memoryDevice(size)),
  room: 40n << 20n,
});

describeBlockDevice({
  name: 'CowLayer over a file that is only read',
  open: async (size) => new CowLayer(await fileDevice(size, 'r'), memoryDevice(size)),
  sizes: [0n, 1n, 511n, 2n ** 43n + 1n],
});

describeBlockDevice({
  name: 'RoundLayer, rounded down',
  open: async (size) => new RoundLayer(memoryDevice(size), { to: 1n, direction: 'down' }),
  openReadOnly: async (size) => new RoundLayer(await fileDevice(size, 'r'), { to: 1n, direction: 'up' }),
});

describeBlockDevice({
  name: 'RoundLayer over more than is to be seen',
  open: async (size) => new RoundLayer(memoryDevice(size + 511n), { to: 512n, direction: 'down' }),
  sizes: [0n, 512n, 2n ** 53n, 2n ** 62n],
});

describeBlockDevice({
  name: 'ErrorLayer',
  open: async (size) => new ErrorLayer(memoryDevice(size), { rate: 0 }),
  openReadOnly: async (size) => new ErrorLayer(await fileDevice(size, 'r'), { rate: 0 }),
});
describeBlockDevice({
  name: 'DelayLayer',
  open: async (size) => new DelayLayer(memoryDevice(size), { flush: 1, write: 1 }),
  openReadOnly: async (size) => new DelayLayer(await fileDevice(size, 'r'), { read: 1 }),
});
describeBlockDevice({
  name: 'RateLayer',
  open: async (size) => new RateLayer(memoryDevice(size), 1e9),
  openReadOnly: async (size) => new RateLayer(await fileDevice(size, 'r'), 1e9),
});
describeBlockDevice({
  name: 'LogLayer',
  open: async (size) => new LogLayer(memoryDevice(size), () => {}),
  openReadOnly: async (size) => new LogLayer(await fileDevice(size, 'r'), () => {}),
});
describeBlockDevice({
  name: 'StatsLayer',
  open: async (size) => new StatsLayer(memoryDevice(size)),
  openReadOnly: async (size) => new StatsLayer(await fileDevice(size, 'r')),
});

describeReadOnlyDevice({
  name: 'HolesLayer',
  open: async () => {
    const below = memoryDevice(100_000n);
    const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i < 60_000 ? 1 + (i % 255) : 0));
    await below.write(bytes.subarray(0, 60_000), 0n);
    const holes = RangeSet.of([
      { offset: 0n, length: 7n },
      { offset: 4096n, length: 4096n },
      { offset: 30_001n, length: 1n },
      { offset: 50_000n, length: 20_000n },
      { offset: 99_999n, length: 1n },
    ]);
    for (const { offset, length } of holes) bytes.fill(0, Number(offset), Number(offset + length));
    return { device: new HolesLayer(below, holes), bytes };
  },
});

describeReadOnlyDevice({
  name: 'ReplayedView',
  open: async () => {
    const [blockSize, size] = [1024, 65_000];
    const below = memoryDevice(BigInt(size));
    const bytes = Uint8Array.from({ length: size }, (_, i) => 1 + (i % 255));
    const log = { start: 40, end: 50 };
    // Of a block that begins with the journal's magic number, the log has zeros in its place.
    bytes.fill(0, 42 * blockSize, 42 * blockSize + 4);
    await below.write(bytes, 0n);
    const blocks = new JournalBlocks(below, blockSize, [log], {});
    // The last block of the device is cut short.
    const writes = [
      { block: 3, from: 1, escaped: false },
      { block: 10, from: 2, escaped: true },
      { block: 63, from: 3, escaped: false },
    ];
    const replayed = new Map(writes.map((write) => [write.block, write]));
    const logged = bytes.slice(log.start * blockSize, log.end * blockSize);
    viewOf(logged).setUint32(2 * blockSize, journalMagic);
    for (const { block, from } of writes) {
      const end = Math.min(size, (block + 1) * blockSize);
      bytes.set(logged.subarray(from * blockSize, from * blockSize + end - block * blockSize), block * blockSize);
    }
    return { device: new ReplayedView(below, blocks, replayed), bytes };
  },
});

async function* listed<Item>(items: readonly Item[]): AsyncGenerator<Item> {
  yield* items;
}

describeReadOnlyDevice({
  name: 'FileContent',
  open: async () => {
    const below = memoryDevice(300_000n);
    const noise = Uint8Array.from({ length: 300_000 }, (_, i) => 1 + ((i * 7 + (i >> 9)) % 251));
    await below.write(noise, 0n);
    const bytes = new Uint8Array(100_001);
    const extents = [
      { fileOffset: 4096n, offset: 200_000n, fileLength: 4096n, encoded: false },
      { fileOffset: 8192n, offset: 100_000n, fileLength: 20_480n, encoded: false },
      { fileOffset: 65_536n, offset: 1024n, fileLength: 1024n, encoded: true },
      { fileOffset: 98_304n, offset: 250_000n, fileLength: 4096n, encoded: false },
    ];
    const decoded = Uint8Array.from({ length: 1024 }, (_, i) => i >> 3);
    for (const { fileOffset, offset, fileLength, encoded } of extents) {
      bytes.set(
        encoded
          ? decoded
          : noise.subarray(Number(offset), Number(offset + fileLength)).subarray(0, 100_001 - Number(fileOffset)),
        Number(fileOffset),
      );
    }
    return {
      device: await FileContent.open(below, {
        name: 'a file',
        size: 100_001n,
        extents: listed(extents),
        decode: () => Promise.resolve(decoded),
      }),
      bytes,
    };
  },
});

describeReadOnlyDevice({
  name: 'FileContent of a file that lies in its inode',
  open: async () => {
    const inline = Uint8Array.from({ length: 150 }, (_, i) => i + 1);
    const bytes = new Uint8Array(1000);
    bytes.set(inline);
    return { device: await FileContent.open(memoryDevice(0n), { name: 'a file', size: 1000n, inline }), bytes };
  },
});

test('every device in src has a run of this suite', async () => {
  const root = new URL('../../src/', import.meta.url).pathname;
  const files = (await readdir(root, { recursive: true })).filter((path) => path.endsWith('.ts'));
  const devices = new Map<string, string>();
  for (const path of files) {
    const source = ts.createSourceFile(path, await readFile(join(root, path), 'utf8'), ts.ScriptTarget.Latest);
    source.forEachChild((node) => {
      if (!ts.isClassDeclaration(node) || node.name === undefined) return;
      if (node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.AbstractKeyword)) return;
      for (const clause of node.heritageClauses ?? []) {
        for (const { expression } of clause.types) {
          if (ts.isIdentifier(expression)) devices.set(node.name.text, expression.text);
        }
      }
    });
  }
  const isDevice = (name: string | undefined): boolean =>
    name !== undefined && (/^(BlockDevice|Layer|Interceptor)$/.test(name) || isDevice(devices.get(name)));
  const suites = (await readdir(new URL('../', import.meta.url).pathname, { recursive: true })).filter((path) =>
    path.endsWith('.test.ts'),
  );
  const texts = await Promise.all(suites.map((path) => readFile(new URL(`../${path}`, import.meta.url), 'utf8')));
  const runs = texts.flatMap((text) =>
    [...text.matchAll(/describe(?:Block|ReadOnly)Device\(\{\s*name: '([^']*)'/g)].map(([, n]) => n),
  );
  const untested = [...devices.keys()].filter(isDevice).filter((name) => !runs.some((run) => run?.startsWith(name)));
  expect([...devices.keys()].filter(isDevice)).toContain('Slice');
  expect(untested).toEqual([]);
});
