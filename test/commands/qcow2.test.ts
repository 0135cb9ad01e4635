import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { filesOf, guestDiskPrograms, makeGuestDisk } from '../support/guest-disk.js';
import { needs } from '../support/needs.js';
import { disktoolHere, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

/** A guest disk, and the same compressed as qcow2. */
async function guest() {
  const folder = await temporaryFolder();
  const disk = await makeGuestDisk({ in: folder });
  const image = join(folder, 'guest.qcow2');
  await run('qemu-img', ['convert', '-c', '-O', 'qcow2', disk.image, image]);
  return { folder, disk, image };
}

describe('a qcow2 image', () => {
  const it = needs({ programs: ['qemu-img', ...guestDiskPrograms] });

  it('lists the same filesystems, and gives out the same partition', async () => {
    const { folder, disk, image } = await guest();
    const entries = async (path: string) =>
      JSON.parse((await disktoolHere(['filesystems', '--json', path])).stdout).entries;
    expect(await entries(image)).toEqual(await entries(disk.image));
    const out = join(folder, 'out.img');
    expect((await disktoolHere(['download', image, '/dev/sda1', out])).status).toBe(0);
    await run('cmp', ['-n', String(disk.rootSize), '-i', `0:${disk.rootOffset}`, out, disk.image]);
  });

  it('is copied as qcow2 unless it is said to be raw, with and without its free space', async () => {
    const { folder, disk, image } = await guest();
    const [whole, small] = [join(folder, 'whole.img'), join(folder, 'small.img')];
    const copy = join(folder, 'copy.qcow2');
    expect((await disktoolHere(['copy', image, copy])).status).toBe(0);
    expect(JSON.parse(await run('qemu-img', ['info', '--output=json', copy]))).toMatchObject({ format: 'qcow2' });
    await run('qemu-img', ['check', '-q', copy]);
    await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', copy, image]);
    expect((await disktoolHere(['copy', '--convert', 'raw', image, whole])).status).toBe(0);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', whole, image]);
    expect((await disktoolHere(['sparsify', image, '--output', small, '--convert', 'raw'])).status).toBe(0);
    const root = { root: `${small}?offset=${disk.rootOffset}` };
    expect(await filesOf(root, await temporaryFolder())).toEqual(await filesOf(disk, await temporaryFolder()));
  });

  it('is served to be read, with an overlay for what is written, or to be written to', async () => {
    const { image } = await guest();
    const served = async (...flags: string[]) =>
      disktoolHere([
        'serve',
        image,
        ...flags,
        '--run',
        'qemu-io -f raw -c "write -q -P 7 0 64k" -c "read -q -P 7 0 64k" "$uri"',
      ]);
    expect((await served('--cow')).status).toBe(0);
    expect((await served('--read-only')).status).not.toBe(0);
    expect((await served()).status).toBe(0);
    await run('qemu-img', ['check', '-q', image]);
  });

  it('and what it stands on are never written over by a copy of it', async () => {
    const { folder, image } = await guest();
    const top = join(folder, 'top.qcow2');
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', image, '-F', 'qcow2', top]);
    const before = await run('sha256sum', [image, top]);
    for (const [output, status, words] of [
      [top, 2, 'is the source itself'],
      [image, 1, 'in use by'],
    ] as const) {
      const args = ['copy', '--force', '--convert', 'raw', '--format', 'qcow2', top, output];
      expect(await disktoolHere(args)).toMatchObject({ status, stderr: expect.stringContaining(words) });
    }
    expect(await run('sha256sum', [image, top])).toBe(before);
  });

  it('with a flag that would be passed over is refused', async () => {
    const { folder, image } = await guest();
    for (const args of [
      ['sparsify', '--convert', 'raw', image],
      ['zerofill', '--format', 'raw', folder],
      ['zerofill', '--reserve', '1M', image],
      ['serve', '--file', image, '--format', 'qcow2'],
      ['serve', '--memory', '1M', '--snapshot', 'x'],
    ]) {
      expect({ args, status: (await disktoolHere(args)).status }).toEqual({ args, status: 2 });
    }
  });
});
