import { mkdtemp, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { describe, expect } from 'vitest';
import { createdFormats } from '../../src/image/image-format.js';
import { needs } from '../support/needs.js';
import { noise } from '../support/qcow2-written.js';
import { attempt, disktool, disktoolHere, disktoolPath, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-nbd'] });

/** 20 MiB and a half sector: data at both ends, and in between. */
async function disk(): Promise<{ folder: string; source: string }> {
  const folder = await temporaryFolder();
  const source = join(folder, 'a.img');
  const size = (20 << 20) + 256;
  await writeFile(source, noise(100_000));
  await truncate(source, size);
  await run('dd', [
    'if=/dev/urandom',
    `of=${source}`,
    'bs=1000',
    'count=300',
    'seek=9000',
    'conv=notrunc',
    'status=none',
  ]);
  await run('dd', [
    'if=/dev/urandom',
    `of=${source}`,
    'bs=256',
    'count=1',
    `seek=${(20 << 20) / 256}`,
    'conv=notrunc',
    'status=none',
  ]);
  return { folder, source };
}

describe('a copy in a format that QEMU writes', () => {
  for (const format of createdFormats) {
    it(`is what the disk is, and QEMU finds nothing wrong with it: ${format}`, async () => {
      const { folder, source } = await disk();
      const to = join(folder, `copy.${format}`);
      const copied = await disktool(['copy', '--convert', format, '--json', source, to]);
      expect(copied).toMatchObject({ status: 0, stderr: expect.stringContaining('256 zeros follow the disk') });
      expect(JSON.parse(copied.stdout)).toMatchObject({ format, size: (20 << 20) + 256 });
      await run('qemu-img', ['compare', '-f', 'raw', '-F', format, source, to]);
      const { status, stdout, stderr } = await attempt('qemu-img', ['check', '-f', format, to]);
      if (format === 'vpc') expect(stderr).toContain('does not support checks');
      else expect({ status, stdout }).toMatchObject({ status: 0, stdout: expect.stringContaining('No errors') });
      expect((await readdir(folder)).toSorted()).toEqual(['a.img', `copy.${format}`]);
    });
  }

  it('is what a copy of such an image is, and what sparsify makes of one, unless it is told otherwise', async () => {
    const { folder, source } = await disk();
    const [vmdk, again, small, raw] = ['a.vmdk', 'b.vmdk', 'c.vmdk', 'd.img'].map((name) => join(folder, name));
    await run('qemu-img', ['convert', '-O', 'vmdk', source, String(vmdk)]);
    for (const [args, format] of [
      [['copy', vmdk, again], 'vmdk'],
      [['sparsify', vmdk, '--output', small], 'vmdk'],
      [['copy', '--convert', 'raw', vmdk, raw], 'raw'],
    ] as const) {
      const command = args.map(String);
      expect({ command, ...(await disktoolHere(command)) }).toMatchObject({ status: 0 });
      const to = command.at(-1) ?? '';
      await run('qemu-img', ['compare', '-f', 'vmdk', '-F', format, String(vmdk), to]);
    }
  });

  it('takes no flags of qcow2, and goes to files alone', async () => {
    const { folder, source } = await disk();
    for (const [args, words] of [
      [['--compress', 'zstd', source, join(folder, 'x.vdi')], '--compress goes with a qcow2 copy, and this one is vdi'],
      [['-o', 'cluster_size=4k', source, join(folder, 'x.vdi')], '-o cluster_size goes with a qcow2 copy'],
      [[source, '-'], 'a vdi image is written to a file'],
      [[source, '/dev/null'], 'a vdi image is written to a file'],
    ] as const) {
      const refused = await disktoolHere(['copy', '--convert', 'vdi', ...args]);
      expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining(words) });
    }
    expect(await readdir(folder)).toEqual(['a.img']);
  });

  it('is told of when QEMU cannot make it, or is not there, and leaves nothing', async () => {
    const { folder, source } = await disk();
    const huge = join(folder, 'huge.img');
    await writeFile(huge, '');
    await truncate(huge, 2 ** 43);
    const failed = await disktoolHere(['copy', '--convert', 'vpc', huge, join(folder, 'x.vpc')]);
    expect(failed).toMatchObject({ status: 1, stderr: expect.stringContaining('QEMU cannot make a vpc image') });
    const env = { ...process.env, PATH: folder };
    const args = [disktoolPath, 'copy', '--convert', 'vdi', source, join(folder, 'x.vdi')];
    const without = await execa(process.execPath, args, { env, extendEnv: false, reject: false });
    expect(without).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('install qemu-utils') });
    expect((await readdir(folder)).toSorted()).toEqual(['a.img', 'huge.img']);
  });

  it('has nothing in it that its name could set: vmdk', async () => {
    const { folder, source } = await disk();
    for (const name of ['a\nparentFileNameHint="x".vmdk', 'b"parentCID=1".vmdk']) {
      const to = join(folder, name);
      expect(await disktoolHere(['copy', '--convert', 'vmdk', source, to])).toMatchObject({ status: 0 });
      await run('qemu-img', ['compare', '-f', 'raw', '-F', 'vmdk', source, to]);
      expect((await readFile(to)).subarray(0, 64 << 10).includes('Hint')).toBe(false);
    }
  });

  it('is given up when QEMU does not end in good order, though all was written', async () => {
    const { folder, source } = await disk();
    const programs = await mkdtemp(join(folder, 'bin-'));
    const real = (await run('sh', ['-c', 'command -v qemu-nbd'])).trim();
    // All but how it ends is QEMU's own.
    const wrapped = `#!/bin/sh\nsh -c 'LISTEN_PID=$$; export LISTEN_PID; exec ${real} "$@"' sh "$@"\nexit 1\n`;
    await writeFile(join(programs, 'qemu-nbd'), wrapped, { mode: 0o755 });
    const env = { PATH: `${programs}:${process.env.PATH}` };
    const args = [disktoolPath, 'copy', '--convert', 'parallels', source, join(folder, 'x.hdd')];
    const failed = await execa(process.execPath, args, { env, reject: false });
    expect(failed).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('x.hdd: QEMU was ended before') });
    expect(await readdir(folder)).not.toContain('x.hdd');
  });

  it('is there as a whole or not at all after SIGKILL at any moment', async () => {
    const { folder, source } = await disk();
    const outputs = await mkdtemp(join(folder, 'out-'));
    for (const delay of [100, 250, 300, 350, 400, 450, 600]) {
      const args = [disktoolPath, 'copy', '--force', '--convert', 'vmdk', source, join(outputs, 'copy.vmdk')];
      const copying = execa(process.execPath, args, { reject: false });
      await sleep(delay + Math.random() * 50);
      copying.kill('SIGKILL');
      await copying;
      for (const name of await readdir(outputs)) {
        await run('qemu-img', ['compare', '-f', 'raw', '-F', 'vmdk', source, join(outputs, name)]);
      }
    }
  });
});

it('a file that another image in its folder stands on is not replaced', async () => {
  const { folder, source } = await disk();
  const base = join(folder, 'base.img');
  await run('cp', [source, base]);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', 'base.img', '-F', 'raw', join(folder, 'top.qcow2')]);
  const before = await run('sha256sum', [base]);
  expect(await disktoolHere(['copy', '--force', source, base])).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('is the backing file of'),
  });
  expect(await run('sha256sum', [base])).toBe(before);
});
