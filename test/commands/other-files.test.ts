import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { qedHeader, vmdkSparseHeader } from '../../src/image/foreign/on-disk.js';
import { needs } from '../support/needs.js';
import { change, patch } from '../support/partition-image.js';
import { disktool, disktoolHere, type Outcome, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

/**
 * A guest can write any header into its raw disk (CVE-2010-3851). Each attack here makes such a disk, which names a file
 * of the host; no command may open that file. Whether it is opened shows in two ways: what is in it never comes out and
 * is never changed; and where it is a FIFO, who opens it never ends.
 */
const programs = ['qemu-img', 'qemu-nbd'] as const;
const quick = needs({ programs });
const slow = needs({ programs, slow: true });
const marker = 'SECRET-OF-THE-HOST-';
const secretSize = 2 << 20;

type Attack = (disk: string, secret: string) => Promise<void>;

const descriptor = (line: string) =>
  `# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n${line}\n`;
const sectors = secretSize / 512;

/** Makes an image on a harmless file, and puts the secret's path, which is as long, in its place. */
async function naming(disk: string, secret: string, make: (harmless: string) => readonly string[]): Promise<void> {
  const harmless = `${secret.slice(0, -6)}harmle`;
  await run('qemu-img', ['create', '-q', ...make(harmless)]);
  const bytes = await readFile(disk);
  for (let at = bytes.indexOf(harmless); at !== -1; at = bytes.indexOf(harmless, at)) bytes.write(secret, at);
  await writeFile(disk, bytes);
}

const attacks: Record<string, Attack> = {
  'a qcow2 header that names a data file': (disk, secret) =>
    naming(disk, secret, (file) => [
      '-f',
      'qcow2',
      '-o',
      `data_file=${file},data_file_raw=on`,
      disk,
      String(secretSize),
    ]),
  'a qcow2 header that names a backing file': (disk, secret) =>
    naming(disk, secret, (file) => ['-f', 'qcow2', '-u', '-b', file, '-F', 'raw', disk, String(secretSize)]),
  'a qcow2 header that names a backing file by json:': (disk, secret) =>
    run('qemu-img', [
      ...['create', '-q', '-f', 'qcow2', '-u', '-F', 'raw', '-b'],
      ...[`json:{"driver":"raw","file":{"driver":"file","filename":"${secret}"}}`, disk, String(secretSize)],
    ]).then(() => {}),
  'a VMDK descriptor that names an extent': (disk, secret) =>
    writeFile(disk, descriptor(`RW ${sectors} FLAT "${secret}" 0`)),
  'a sparse VMDK header whose descriptor names an extent': async (disk, secret) => {
    await run('qemu-img', ['create', '-q', '-f', 'vmdk', disk, String(secretSize)]);
    await patch(disk, 0, vmdkSparseHeader, { capacity: 0n });
    await change(disk, 512, 512, (sector) => {
      sector.fill(0);
      Buffer.from(sector.buffer, sector.byteOffset).write(descriptor(`RW ${sectors} FLAT "${secret}" 0`));
    });
  },
  'a VMDK that names a parent': async (disk, secret) => {
    await run('qemu-img', ['create', '-q', '-f', 'vmdk', disk, String(secretSize)]);
    await change(disk, 512, 512, (sector) => {
      const text = Buffer.from(sector.buffer, sector.byteOffset, sector.byteLength);
      text.write('parentCID=12345678\nparentFileNameHint="', text.indexOf('parentCID'));
      text.write(`${secret}"\n`, text.indexOf('Hint="') + 6);
    });
  },
  'a QED header that names a backing file': async (disk, secret) => {
    await run('qemu-img', ['create', '-q', '-f', 'qed', disk, String(secretSize)]);
    await patch(disk, 0, qedHeader, {
      features: 5n,
      backing_filename_offset: qedHeader.size,
      backing_filename_size: secret.length,
    });
    await change(disk, qedHeader.size, secret.length, (bytes) => bytes.set(Buffer.from(secret)));
  },
  'a qcow header that names a backing file': (disk, secret) =>
    naming(disk, secret, (file) => ['-f', 'qcow', '-u', '-b', file, '-F', 'raw', disk, String(secretSize)]),
};

/** Every command that opens an image, and every way that it does. */
const verbs = (disk: string, out: string): readonly (readonly string[])[] => [
  ['filesystems', '--all', disk],
  ['map', disk],
  ['copy', '--convert', 'raw', disk, out],
  ['download', disk, '/dev/sda', out],
  ['sparsify', disk],
  ['sparsify', '--dry-run', disk],
  ['sparsify', '--convert', 'raw', '--output', out, disk],
  ['zerofill', disk],
  ['serve', '--read-only', disk, '--run', 'true'],
  ['serve', disk, '--run', 'true'],
  ['serve', '--cow', disk, '--run', 'true'],
];

/** One of each way to open it: to read, to change in place, and to serve for writing. */
const ways = [2, 4, 9];

/** The two that have been seen to work on QEMU's own tools. */
const known = ['a qcow2 header that names a data file', 'a VMDK descriptor that names an extent'];

for (const [name, attack] of Object.entries(attacks)) {
  const it = known.includes(name) ? quick : slow;
  it(`opens no other file for ${name}`, async () => {
    const folder = await temporaryFolder();
    const place = (file: string) => join(folder, file);
    const [disk, secret, out] = [place('disk.img'), place('secret'), place('out')];
    // Some tools look at what they name: it is there, and becomes the secret, or a pipe, afterwards.
    await writeFile(secret, marker.repeat(secretSize / marker.length));
    await truncate(secret, secretSize);
    await writeFile(place('harmle'), '');
    await truncate(place('harmle'), secretSize);
    await attack(disk, secret);
    await truncate(disk, 4 << 20);
    const before = await run('sha256sum', [secret, disk]);
    const expectRefused = ({ status, stdout, stderr }: Outcome, args: readonly string[]) => {
      expect({ args, status, leaks: `${stdout}${stderr}`.includes(marker) }).toEqual({ args, status: 1, leaks: false });
      expect(stderr).toMatch(
        /which a guest may have written|keeps its data in another file|stands on|not changed in place/,
      );
    };
    for (const args of verbs(disk, out)) expectRefused(await disktoolHere(args), args);
    expect(await run('sha256sum', [secret, disk])).toBe(before);
    expect(await readFile(out).catch(() => undefined)).toBeUndefined();
    await run('rm', [secret]);
    await run('mkfifo', [secret]);
    const tried = verbs(disk, out).filter((_, i) => ways.includes(i));
    expect(tried.map(([verb]) => verb)).toEqual(['copy', 'sparsify', 'serve']);
    for (const args of tried) expectRefused(await disktool(args, { timeout: 20_000 }), args);
    const info = await disktool(['info', disk], { timeout: 20_000 });
    expect(info).toMatchObject({ status: 0, stdout: expect.stringContaining('which a guest may have written') });
  }, 60_000);
}
