import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { needs } from '../support/needs.js';
import { attempt, disktool, disktoolHere, disktoolPath, run } from '../support/run.js';
import { served } from '../support/served.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io'] });
const MiB = 1 << 20;

/** A raw image of 8 MiB with some data, and a copy of it. */
async function twoImages() {
  const folder = await temporaryFolder();
  const [a, b] = [join(folder, 'a.img'), join(folder, 'b.img')];
  await writeFile(a, Buffer.alloc(100_000, 0x5a));
  await truncate(a, 8 * MiB);
  await run('cp', ['--sparse=always', a, b]);
  return { folder, a, b };
}

async function write(path: string, byte: number, offset: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(Buffer.of(byte), 0, 1, offset);
  } finally {
    await file.close();
  }
}

describe('disktool compare', () => {
  it('says that two images are the same, whatever their formats, with status 0', async () => {
    const { folder, a, b } = await twoImages();
    expect(await disktool(['compare', '--quiet', a, b])).toMatchObject({
      status: 0,
      stderr: '',
      stdout: `${a} and ${b} are the same`,
    });
    const qcow2 = join(folder, 'c.qcow2');
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-c', a, qcow2]);
    const { status, stdout } = await disktoolHere(['compare', '--json', '-f', 'raw', '-F', 'qcow2', a, qcow2]);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      images: [
        { image: a, format: 'raw', size: 8 * MiB },
        { image: qcow2, format: 'qcow2', size: 8 * MiB },
      ],
      same: true,
    });
    // The file of the qcow2 image is another disk than what is in it.
    expect((await disktoolHere(['compare', '-F', 'raw', a, qcow2])).status).toBe(1);
  });

  it('names the first byte that differs, with status 1, as qemu-img and cmp do', async () => {
    const { a, b } = await twoImages();
    for (const offset of [6 * MiB + 7, 70_001]) await write(b, 1, offset);
    const words = { status: 1, stdout: `${a} and ${b} differ at byte 70001 (0x11171)` };
    expect(await disktoolHere(['compare', a, b])).toMatchObject(words);
    expect((await attempt('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', a, b])).status).toBe(1);
    expect((await attempt('cmp', [a, b])).stdout).toMatch(/byte 70002,/);
    const { status, stdout } = await disktoolHere(['compare', '--json', a, b]);
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ same: false, difference: { kind: 'content', offset: 70001 } });
  });

  it('takes other sizes for a note, and for a difference when strict', async () => {
    const { a, b } = await twoImages();
    await truncate(b, 9 * MiB);
    const { status, stderr } = await disktoolHere(['compare', a, b]);
    expect(status).toBe(0);
    expect(stderr).toContain(`${a} has 8388608 bytes, ${b} 9437184; the rest of ${b} is zeros`);
    expect(await disktoolHere(['compare', '--strict', a, b])).toMatchObject({
      status: 1,
      stdout: `${a} and ${b} differ in size: 8388608 and 9437184 bytes`,
    });
    const { stdout } = await disktoolHere(['compare', '-s', '--json', a, b]);
    expect(JSON.parse(stdout).difference).toEqual({ kind: 'size' });
  });

  it('says where one image alone takes room when strict', async () => {
    const { a, b } = await twoImages();
    await write(b, 0, 4 * MiB);
    expect((await disktoolHere(['compare', a, b])).status).toBe(0);
    expect(await disktoolHere(['compare', '-s', a, b])).toMatchObject({
      status: 1,
      stdout: `${a} and ${b} differ in allocation at byte 4194304 (0x400000): only ${b} takes room there`,
    });
  });

  it('compares a disk with its snapshot', async () => {
    const { folder, a } = await twoImages();
    const qcow2 = join(folder, 'c.qcow2');
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', a, qcow2]);
    await run('qemu-img', ['snapshot', '-c', 'before', qcow2]);
    await run('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 3 1M 4k', qcow2]);
    const { stdout } = await disktoolHere(['compare', '--snapshot2', 'before', qcow2, qcow2]);
    expect(stdout).toContain('differ at byte 1048576 ');
    expect((await disktoolHere(['compare', '--snapshot', 'before', qcow2, a])).status).toBe(0);
  });

  it('has a status above 1 for all that it could not compare, by what failed', async () => {
    const { folder, a, b } = await twoImages();
    expect(await disktoolHere(['compare', a, join(folder, 'none')])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('none'),
    });
    expect((await disktoolHere(['compare', a])).status).toBe(2);
    expect((await disktoolHere(['compare', '--snapshot2', 'x', a, b])).status).toBe(2);
    const { uri } = await served([a, '--read-only', '--error-read-rate', '100%']);
    const failed = await disktoolHere(['compare', '--json', '-F', 'raw', b, uri]);
    expect(failed.status).toBe(4);
    expect(JSON.parse(failed.stdout)).toMatchObject({ code: 'IO', errno: 'EIO' });
    const unmapped = await served([a, '--read-only', '--error-extents-rate', '100%']);
    expect((await disktoolHere(['compare', '-F', 'raw', b, unmapped.uri])).status).toBe(3);
    const slow = await served([a, '--read-only', '--delay-read', '6s']);
    const stopped = await disktool(['compare', '-F', 'raw', b, slow.uri], { timeout: 2000, killSignal: 'SIGINT' });
    expect(stopped).toMatchObject({ status: 130, stderr: expect.stringContaining('stopped by SIGINT') });
  });

  it('does not say that images differ when it cannot say anything', async () => {
    const { a, b } = await twoImages();
    for (const flags of [[], ['--json']]) {
      const command = [process.execPath, disktoolPath, 'compare', '-q', ...flags, a, b];
      const full = await attempt('sh', ['-c', '"$@" >/dev/full', 'sh', ...command]);
      expect(full).toMatchObject({
        status: 2,
        stderr: expect.stringMatching(/^disktool: write to standard output: .*ENOSPC.$/),
      });
      const closed = await attempt('sh', ['-c', '{ "$@"; echo $? >&2; } | true', 'sh', ...command]);
      expect(closed).toMatchObject({ status: 0, stderr: '0' });
    }
  });

  it('shares an image that is being written to only when told', async () => {
    const { a, b } = await twoImages();
    const { uri } = await served([b]);
    expect((await disktoolHere(['compare', a, uri])).status).toBe(0);
    expect((await disktoolHere(['compare', a, b])).status).toBe(2);
    expect((await disktoolHere(['compare', '-U', a, b])).status).toBe(0);
  });
});
