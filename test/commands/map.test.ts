import { createHash } from 'node:crypto';
import { open, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { needs } from '../support/needs.js';
import { qemuIo, qemuMap } from '../support/qcow2-image.js';
import { attempt, disktool, disktoolPath, run } from '../support/run.js';
import { served } from '../support/served.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io'] });
const MiB = 1 << 20;

/** Data and holes over 8 MiB, and data up to the last byte. */
async function rawImage(path: string, size = 8 * MiB): Promise<string> {
  await writeFile(path, Buffer.alloc(100_000, 0x5a));
  await truncate(path, size);
  const file = await open(path, 'r+');
  try {
    await file.write(Buffer.alloc(5000, 0x11), 0, 5000, 3 * MiB + 100);
    await file.write(Buffer.alloc(5000, 0x22), 0, 5000, size - 5000);
  } finally {
    await file.close();
  }
  return path;
}

/** A qcow2 image over another over a raw one; of the top one, a cluster is compressed. */
async function chain(folder: string): Promise<string> {
  await rawImage(join(folder, 'base.img'));
  const create = (path: string, backing: string, format: string) =>
    run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', backing, '-F', format, path, '9M']);
  const [middle, top] = [join(folder, 'middle.qcow2'), join(folder, 'top.qcow2')];
  await create(middle, 'base.img', 'raw');
  await qemuIo(middle, ['write -P 1 64k 64k', 'write -z 3M 64k', 'write -P 2 5M 200k']);
  await create(top, 'middle.qcow2', 'qcow2');
  await qemuIo(top, ['write -c -P 3 5M 64k', 'write -P 4 1M 64k']);
  return top;
}

describe('disktool map', () => {
  it('prints with --json what qemu-img map prints: of a raw image', async () => {
    const image = await rawImage(join(await temporaryFolder(), 'a.img'));
    const { status, stdout, stderr } = await disktool(['map', '--json', image]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toBe(await run('qemu-img', ['map', '-f', 'raw', '--output=json', image]));
  });

  it('prints with --json what qemu-img map prints: of a chain, and whether clusters are compressed', async () => {
    const top = await chain(await temporaryFolder());
    const { stdout } = await disktool(['map', '--json', '--format', 'qcow2', top]);
    const entries: { start: number; compressed: boolean }[] = JSON.parse(stdout);
    expect(entries.filter(({ compressed }) => compressed).map(({ start }) => start)).toEqual([5 * MiB]);
    expect(entries.map(({ compressed: _, ...entry }) => entry)).toEqual(await qemuMap(top));
    const theirs = await run('qemu-img', ['map', '-f', 'qcow2', '--output=json', top]);
    expect(stdout.replaceAll(/ "compressed": (true|false),?/g, '').replaceAll(',}', '}')).toBe(
      theirs.replaceAll(/ "compressed": (true|false),?/g, '').replaceAll(',}', '}'),
    );
  });

  it('prints with --json what qemu-img map prints: of an NBD export', async () => {
    const { uri } = await served([await rawImage(join(await temporaryFolder(), 'a.img')), '--read-only']);
    const { stdout } = await disktool(['map', '--json', uri]);
    expect(JSON.parse(stdout)).toEqual(await qemuMap(uri, 'raw'));
  });

  it('prints a table', async () => {
    const top = await chain(await temporaryFolder());
    const { stdout } = await disktool(['map', '--format', 'qcow2', top]);
    const [heading, ...lines] = stdout.split('\n').map((line) => line.trim().split(/ +/));
    expect(heading).toEqual(['Start', 'Length', 'Type', 'Depth', 'Offset']);
    expect(lines[0]).toEqual(['0', '65536', 'data', '2', '0']);
    expect(lines.map(([, , type, depth]) => `${type} ${depth}`)).toEqual([
      ...['data 2', 'data 1', 'hole 2', 'data 0', 'hole 2', 'zero 1', 'hole 2', 'compressed 0', 'data 1'],
      ...['hole 2', 'data 2', 'hole -'],
    ]);
  });

  it('says nothing of a disk without bytes', async () => {
    const image = join(await temporaryFolder(), 'a.img');
    await writeFile(image, '');
    expect(await disktool(['map', '--json', image])).toMatchObject({ status: 0, stdout: '[]' });
    expect((await disktool(['map', image])).stdout.split('\n')).toHaveLength(1);
  });

  it('does not print less than there is without saying so', async () => {
    const folder = await temporaryFolder();
    const image = join(folder, 'a.qcow2');
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512', image, '8M']);
    await qemuIo(
      image,
      [0, 1, 2, 3, 4, 5, 6, 7].map((i) => `write -P 1 ${i}M 64k`),
    );
    const file = await open(image, 'r+');
    try {
      // The L1 table's last entry in use leads nowhere any more: 32 KiB each, the one of 7 MiB.
      const header = Buffer.alloc(104);
      await file.read(header, 0, 104, 0);
      await file.write(Buffer.from('8000ffffffffffff', 'hex'), 0, 8, Number(header.readBigUInt64BE(40)) + 224 * 8);
    } finally {
      await file.close();
    }
    const { status, stdout, stderr } = await disktool(['map', '--json', image]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^disktool: qcow2 L1 table entry at byte .*: L1E_OFFSET_MASK is /);
    expect(() => JSON.parse(stdout)).toThrow();
    const missing = await disktool(['map', '--json', '/nowhere.img']);
    expect(missing).toMatchObject({ status: 1, stderr: '' });
    expect(JSON.parse(missing.stdout)).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('ends in silence when nobody reads on', async () => {
    const image = join(await temporaryFolder(), 'a.img');
    const file = await open(image, 'w');
    try {
      for (let i = 0; i < 4000; i++) await file.write(Buffer.of(1), 0, 1, i * 16384);
    } finally {
      await file.close();
    }
    for (const flag of ['--json', '--bmap', '--quiet']) {
      const command = [process.execPath, disktoolPath, 'map', '--progress', 'none', flag, image];
      const closed = await attempt('sh', ['-c', '{ "$@"; echo $? >&2; } | head -c 100', 'sh', ...command]);
      expect(closed, flag).toMatchObject({ status: 0, stderr: '0' });
      const full = await attempt('sh', ['-c', '"$@" >/dev/full', 'sh', ...command]);
      expect(full, flag).toMatchObject({ status: 1, stderr: expect.stringMatching(/^disktool: .*ENOSPC/) });
    }
  });
});

describe('disktool map --bmap', () => {
  const it = needs({ programs: ['qemu-img', 'qemu-io', 'bmaptool'] });

  it('prints what bmaptool makes of the raw image', async () => {
    const folder = await temporaryFolder();
    for (const size of [8 * MiB, 8 * MiB + 1234]) {
      const image = await rawImage(join(folder, `${size}.img`), size);
      const theirs = await run('bmaptool', ['-q', 'create', image]);
      const { status, stdout } = await disktool(['map', '--quiet', '--bmap', image]);
      expect(status).toBe(0);
      expect(contents(stdout)).toEqual(contents(theirs));
    }
  });

  it('prints what bmaptool copies by, whatever the format', async () => {
    const folder = await temporaryFolder();
    const top = await chain(folder);
    const raw = join(folder, 'top.img');
    await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', top, raw]);
    const bmap = join(folder, 'top.bmap');
    const { stdout } = await disktool(['map', '--quiet', '--bmap', '--format', 'qcow2', top], {
      stripFinalNewline: false,
    });
    await writeFile(bmap, stdout);
    const copy = join(folder, 'copy.img');
    await run('bmaptool', ['-q', 'copy', '--bmap', bmap, raw, copy]);
    expect((await readFile(copy)).equals(await readFile(raw))).toBe(true);
    // A block that is not the same is seen, and a map that was changed.
    await writeFile(bmap, stdout.replace(' 0-31 ', ' 0-30 '));
    expect((await attempt('bmaptool', ['-q', 'copy', '--bmap', bmap, raw, copy])).status).not.toBe(0);
    await writeFile(bmap, stdout);
    const file = await open(raw, 'r+');
    try {
      await file.write(Buffer.of(9), 0, 1, 5 * MiB);
    } finally {
      await file.close();
    }
    expect((await attempt('bmaptool', ['-q', 'copy', '--bmap', bmap, raw, copy])).status).not.toBe(0);
  });

  it('leaves out what reads as zeros, and rounds what does not out to blocks', async () => {
    const image = join(await temporaryFolder(), 'a.qcow2');
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512', image, '1M']);
    await qemuIo(image, ['write -P 1 8704 512', 'write -z 32k 32k', 'write -P 2 102400 512', 'write -P 3 110592 512']);
    const { stdout } = await disktool(['map', '-q', '--bmap', image]);
    const block = (at: number, byte: number, count: number) => Buffer.alloc(count * 4096).fill(byte, at, at + 512);
    const range = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    expect(contents(stdout)).toMatchObject({
      MappedBlocksCount: '3',
      ranges: [`2 ${range(block(512, 1, 1))}`, `25 ${range(block(0, 2, 1))}`, `27 ${range(block(0, 3, 1))}`],
    });
  });

  it('is not to be had as JSON', async () => {
    expect(await disktool(['map', '--json', '--bmap', '/nowhere'])).toMatchObject({ status: 2 });
  });
});

/** What a block map says, but for its own checksum, which covers comments too. */
function contents(text: string) {
  const one = (name: string) => new RegExp(`<${name}>\\s*(\\S+)\\s*</${name}>`).exec(text)?.[1];
  const ranges = [...text.matchAll(/<Range chksum="(\w+)">\s*(\S+)\s*</g)].map(([, sum, blocks]) => `${blocks} ${sum}`);
  const names = ['ImageSize', 'BlockSize', 'BlocksCount', 'MappedBlocksCount', 'ChecksumType'];
  return { ...Object.fromEntries(names.map((name) => [name, one(name)])), ranges };
}
