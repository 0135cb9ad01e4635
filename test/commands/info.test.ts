import { open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { toJson } from '../../src/cli/json.js';
import { type ImageFacts, imageInfo } from '../../src/task/info.js';
import { guestImage } from '../support/guest-image.js';
import { needs } from '../support/needs.js';
import { disktool, disktoolHere, run } from '../support/run.js';
import { served } from '../support/served.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io'] });

/** The facts as JSON has them. */
type Told = Omit<ImageFacts, 'virtualSize' | 'fileSize' | 'allocated' | 'problems'> & {
  virtualSize?: number;
  fileSize?: number;
  allocated?: number;
  problems: { code: string; message: string; reason?: string }[];
};

/** What `--json` prints, without starting a program for it. */
async function info(image: string, format?: 'qcow2'): Promise<{ images: Told[]; partitionTable?: { kind: string } }> {
  return JSON.parse(toJson(await imageInfo({ image, format })));
}

/** What both programs tell, in our words. */
function ours({ image, format, virtualSize, allocated, clusterSize, qcow2, ...more }: Told) {
  return {
    ...{ image, format, virtualSize, allocated, clusterSize },
    backingFile: more.backingFile,
    backingFormat: more.backingFormat,
    snapshots: more.snapshots?.map(({ id, name }) => ({ id, name })) ?? [],
    compat: qcow2?.compat,
    compression: qcow2?.compression,
    refcountBits: qcow2?.refcountBits,
    // In version 2, qemu-img does not speak of these.
    lazyRefcounts: qcow2?.lazyRefcounts ?? false,
    extendedL2: qcow2?.extendedL2 ?? false,
    corrupt: qcow2?.corrupt ?? false,
    dirty: qcow2?.dirty ?? false,
    dataFile: qcow2?.dataFile?.name,
    dataFileRaw: qcow2?.dataFile?.raw,
    bitmaps: qcow2?.bitmapCount ?? 0,
    encryption: qcow2?.encryption,
  };
}

async function theirs(image: string, ...flags: string[]) {
  const text = await run('qemu-img', ['info', '--backing-chain', '--output=json', ...flags, image]);
  const chain: Record<string, unknown>[] = JSON.parse(text);
  return chain.map((facts) => {
    const specific: { data?: Record<string, unknown> } = facts['format-specific'] ?? {};
    const data = specific.data ?? {};
    const snapshots = Array.isArray(facts.snapshots) ? facts.snapshots : [];
    const isQcow2 = facts.format === 'qcow2';
    return {
      image: facts.filename,
      format: facts.format,
      virtualSize: facts['virtual-size'],
      allocated: facts['actual-size'],
      clusterSize: facts['cluster-size'],
      backingFile: facts['backing-filename'],
      backingFormat: facts['backing-filename-format'],
      snapshots: snapshots.map(({ id, name }) => ({ id, name })),
      compat: data.compat,
      compression: data['compression-type'],
      refcountBits: data['refcount-bits'],
      lazyRefcounts: data['lazy-refcounts'] ?? false,
      extendedL2: data['extended-l2'] ?? false,
      corrupt: data.corrupt ?? false,
      dirty: facts['dirty-flag'] ?? false,
      dataFile: data['data-file'],
      dataFileRaw: data['data-file-raw'],
      bitmaps: Array.isArray(data.bitmaps) ? data.bitmaps.length : 0,
      encryption: data.encrypt !== undefined ? 'LUKS' : isQcow2 ? 'none' : undefined,
    };
  });
}

async function create(path: string, ...args: string[]): Promise<string> {
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...args, path, '8M']);
  return path;
}

describe('disktool info', () => {
  const variants: Record<string, string> = {
    'version 2': 'compat=0.10',
    'version 3': 'compat=1.1',
    'clusters of 512 bytes': 'cluster_size=512',
    'clusters of 2 MiB': 'cluster_size=2M',
    'refcounts of 1 bit': 'refcount_bits=1',
    'refcounts of 64 bits, lazy': 'refcount_bits=64,lazy_refcounts=on',
    zstd: 'compression_type=zstd',
    'extended L2 entries': 'extended_l2=on',
    'preallocated metadata': 'preallocation=metadata',
  };
  it('tells of qcow2 images what qemu-img info does', async () => {
    const folder = await temporaryFolder();
    for (const [title, options] of Object.entries(variants)) {
      const path = await create(join(folder, `${title}.qcow2`), '-o', options);
      expect((await info(path)).images.map(ours), title).toEqual(await theirs(path));
    }
    const path = await create(join(folder, 'data.qcow2'), '-o', `data_file=${folder}/data.raw,data_file_raw=on`);
    const { images } = await info(path, 'qcow2');
    expect(images.map(ours)).toEqual(await theirs(path));
  });

  it('tells of snapshots, bitmaps and a chain what qemu-img info does', async () => {
    const folder = await temporaryFolder();
    await run('qemu-img', ['create', '-q', '-f', 'raw', join(folder, 'base.img'), '8M']);
    await create(join(folder, 'middle.qcow2'), '-b', 'base.img', '-F', 'raw');
    const top = await create(join(folder, 'top.qcow2'), '-b', 'middle.qcow2', '-F', 'qcow2');
    for (const name of ['before', 'after']) await run('qemu-img', ['snapshot', '-c', name, top]);
    await run('qemu-img', ['bitmap', '--add', top, 'b0']);
    const told = await info(top, 'qcow2');
    const { images, partitionTable } = told;
    expect(images.map(ours)).toEqual(await theirs(top));
    expect(images.flatMap(({ problems }) => problems)).toEqual([]);
    expect(partitionTable).toMatchObject({ kind: 'none' });
    const json = await disktool(['info', '--json', '--format', 'qcow2', top]);
    expect(json).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(json.stdout)).toEqual(told);
    const { stdout } = await disktoolHere(['info', '--format', 'qcow2', top]);
    expect(stdout).toMatch(/^backing file: +middle.qcow2 \(qcow2\)$/m);
    expect(stdout).toMatch(/^1 +before +\d{4}-\d\d-\d\dT\S+Z +0 +8\.0M$/m);
  });

  it('names the backing file of an image whose format was found out, and does not open it', async () => {
    const folder = await temporaryFolder();
    await run('qemu-img', ['create', '-q', '-f', 'raw', join(folder, 'base.img'), '8M']);
    const top = await create(join(folder, 'top.qcow2'), '-b', 'base.img', '-F', 'raw');
    const { images, partitionTable } = await info(top);
    expect(images).toMatchObject([{ backingFile: 'base.img', detected: true, problems: [{ reason: 'other-file' }] }]);
    expect(partitionTable).toBeUndefined();
  });

  it('tells what there is of an image whose backing file is missing, or another program is writing to', async () => {
    const folder = await temporaryFolder();
    const base = join(folder, 'base.img');
    await run('qemu-img', ['create', '-q', '-f', 'raw', base, '8M']);
    // An overlay beside it would keep it from being written to.
    const top = await create(join(await temporaryFolder(), 'top.qcow2'), '-b', base, '-F', 'raw');
    const { stop } = await served([base]);
    const [busy] = (await info(top, 'qcow2')).images;
    expect(busy).toMatchObject({ virtualSize: 8 << 20, problems: [{ code: 'BUSY' }] });
    await stop();
    await rm(base);
    const { images } = await info(top, 'qcow2');
    const [told] = await theirs(top).catch(() => [undefined]);
    expect(told).toBeUndefined();
    expect(images).toMatchObject([{ backingFile: base, problems: [{ code: 'NOT_FOUND', reason: 'backing-file' }] }]);
    expect(images).toHaveLength(1);
    const { status, stdout } = await disktoolHere(['info', '--format', 'qcow2', top]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^problem: .*base\.img: there is no such file$/m);
  });

  it('tells of a chain that leads back to itself where it does', async () => {
    const folder = await temporaryFolder();
    const [a, b] = [join(folder, 'a.qcow2'), join(folder, 'b.qcow2')];
    await create(a);
    await create(b, '-b', 'a.qcow2', '-F', 'qcow2');
    await run('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-b', 'b.qcow2', '-F', 'qcow2', a]);
    const { images } = await info(a, 'qcow2');
    expect(images.map(({ image }) => image)).toEqual([a, b, a]);
    expect(images.at(-1)?.problems).toMatchObject([{ reason: 'circle' }]);
  });

  it('tells what it can of an encrypted image, and of one with features that it does not know', async () => {
    const folder = await temporaryFolder();
    const secret = [
      '--object',
      'secret,id=s,data=abc',
      '-o',
      'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10',
    ];
    const encrypted = await create(join(folder, 'luks.qcow2'), ...secret);
    const { images } = await info(encrypted);
    expect(images.map(ours)).toEqual(await theirs(encrypted));
    expect(images[0]?.problems).toMatchObject([{ code: 'UNSUPPORTED', field: 'crypt_method' }]);
    const newer = await create(join(folder, 'newer.qcow2'));
    await poke(newer, 72, '8000000000000000');
    const told = await info(newer);
    expect(told.images).toMatchObject([
      { format: 'qcow2', virtualSize: 8 << 20, clusterSize: 65536, problems: [{ field: 'incompatible_features' }] },
    ]);
    expect(told.images[0]?.problems).toHaveLength(1);
    await poke(newer, 4, '00000009');
    const [ninth] = (await info(newer)).images;
    expect(ninth).toMatchObject({ virtualSize: 8 << 20, problems: [{ field: 'version', actual: 9 }] });
  });

  it('names formats that it does not read', async () => {
    const folder = await temporaryFolder();
    for (const format of ['vmdk', 'vdi', 'vhdx', 'vpc', 'qed', 'parallels']) {
      const path = join(folder, `a.${format}`);
      await run('qemu-img', ['create', '-q', '-f', format, path, '8M']);
      const [facts] = (await info(path)).images;
      expect(facts, format).toMatchObject({ format, allocated: (await theirs(path))[0]?.allocated });
      if (facts?.virtualSize === undefined) expect(facts?.problems, format).toMatchObject([{ code: 'UNSUPPORTED' }]);
    }
  });

  it('tells of damage what is damaged, without a stack trace', async () => {
    const folder = await temporaryFolder();
    const path = join(folder, 'a.qcow2');
    for (const length of [4, 71, 72, 103, 512]) {
      await writeFile(
        path,
        Buffer.concat([Buffer.from('514649fb00000003', 'hex'), Buffer.alloc(length, 0xff)]).subarray(0, length),
      );
      const { images } = await info(path, 'qcow2');
      expect(
        images[0]?.problems.map(({ code }) => code),
        `${length} bytes`,
      ).toEqual([length < 72 ? 'CORRUPT' : 'UNSUPPORTED']);
    }
    const snapshots = await create(join(folder, 'b.qcow2'));
    await run('qemu-img', ['snapshot', '-c', 'one', snapshots]);
    const header = await readFile(snapshots);
    await poke(snapshots, Number(header.readBigUInt64BE(64)) + 36, 'ffffffff');
    const { images, partitionTable } = await info(snapshots);
    expect(images).toMatchObject([{ virtualSize: 8 << 20, problems: [{ field: 'extra_data_size' }] }]);
    expect(partitionTable).toMatchObject({ kind: 'none' });
  });

  it('fails when there is no such image', async () => {
    expect(await disktoolHere(['info', '/nowhere.img'])).toMatchObject({ status: 1, stdout: '' });
  });

  it('tells of an NBD export its size and blocks', async () => {
    const folder = await temporaryFolder();
    await run('qemu-img', ['create', '-q', '-f', 'raw', join(folder, 'a.img'), '8M']);
    const { uri } = await served([join(folder, 'a.img'), '--read-only']);
    const { images } = await info(uri);
    expect(images).toMatchObject([{ image: uri, format: 'raw', virtualSize: 8 << 20, blockSize: { minimum: 1 } }]);
    expect(images[0]).not.toHaveProperty('fileSize');
  });
});

describe('disktool info of a partitioned disk', () => {
  const it = needs({ programs: ['sfdisk', 'mke2fs', 'mkswap', 'qemu-img'] });

  it('tells the partition table, in whatever format the image is', async () => {
    const raw = await guestImage();
    const qcow2 = join(await temporaryFolder(), 'a.qcow2');
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-c', raw, qcow2]);
    const sfdisk: { partitiontable: { id: string; partitions: { start: number; size: number; type: string }[] } } =
      JSON.parse(await run('sfdisk', ['-J', raw]));
    const { id, partitions } = sfdisk.partitiontable;
    for (const image of [raw, qcow2]) {
      expect((await info(image)).partitionTable).toMatchObject({
        kind: 'gpt',
        sectorSize: 512,
        uuid: id.toLowerCase(),
        partitions: partitions.map(({ start, size, type }) => ({
          offset: start * 512,
          length: size * 512,
          type: type.toLowerCase(),
        })),
      });
    }
    const { stdout } = await disktoolHere(['info', await guestImage('dos')]);
    expect(stdout).toMatch(/^partition table: mbr, sectors of 512 bytes/m);
    expect(stdout).toMatch(/^ +1 +\d+ +33554432 +32M +0x83 /m);
  });
});

it('a raw image that ends like a fixed VHD comes with a warning', async () => {
  const path = join(await temporaryFolder(), 'a.vhd');
  await run('qemu-img', ['create', '-q', '-f', 'vpc', '-o', 'subformat=fixed', path, '1M']);
  const warnings: string[] = [];
  await imageInfo({ image: path }, { onWarning: (text) => warnings.push(text) });
  expect(warnings).toEqual([expect.stringContaining('say --format vpc')]);
});

async function poke(path: string, offset: number, bytes: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(Buffer.from(bytes, 'hex'), 0, bytes.length / 2, offset);
  } finally {
    await file.close();
  }
}
