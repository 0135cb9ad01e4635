import { mkdtemp, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { needs, nightly } from '../support/needs.js';
import { checked, noise, text } from '../support/qcow2-written.js';
import { disktool, disktoolHere, disktoolPath, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['qemu-img'] });

async function rawImage(bytes: Buffer): Promise<{ folder: string; source: string; to: string }> {
  const folder = await temporaryFolder();
  const source = join(folder, 'a.img');
  await writeFile(source, bytes);
  return { folder, source, to: join(folder, 'copy.qcow2') };
}

it('--convert, --compress and -o say what the copy is, and --json tells', async () => {
  const { source, to } = await rawImage(text(1 << 20));
  const flags = ['--convert', 'qcow2', '--compress', 'zstd', '-o', 'cluster_size=16k', '--json'];
  const copied = await disktool(['copy', source, to, ...flags]);
  expect(JSON.parse(copied.stdout)).toMatchObject({ format: 'qcow2', size: 1 << 20 });
  const info = JSON.parse(await run('qemu-img', ['info', '--output=json', to]));
  expect(info).toMatchObject({ 'cluster-size': 16384, 'virtual-size': 1 << 20 });
  expect(info['format-specific'].data['compression-type']).toBe('zstd');
  const small = await disktoolHere(['sparsify', source, '--output', `${to}.2`, ...flags]);
  expect(JSON.parse(small.stdout).images).toMatchObject([{ format: 'qcow2' }]);
  for (const path of [to, `${to}.2`]) {
    await checked(path);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', source, path]);
  }
});

test('the line about a copy says its format, whatever its name says', async () => {
  const { source, to } = await rawImage(noise(4096));
  expect((await disktoolHere(['copy', source, to])).stdout).toBe(`${to}: raw, 4.0K, 4.0K written`);
  const other = `${to}.img`;
  const said = await disktoolHere(['sparsify', source, '--output', other, '--convert', 'qcow2']);
  expect(said.stdout).toContain(`${other}: qcow2, 4.0K, takes `);
});

test('refuses what would be passed over, and options that it does not know, in words', async () => {
  const { folder, source, to } = await rawImage(noise(4096));
  const qcow2 = ['--convert', 'qcow2'];
  for (const [args, words] of [
    [['--compress', 'zlib'], '--compress goes with a qcow2 copy, and this one is raw: say --convert qcow2 as well'],
    [['-o', 'cluster_size=64k'], '-o cluster_size goes with a qcow2 copy'],
    [['--convert', 'raw', '--compress', 'zstd'], '--compress goes with a qcow2 copy, and this one is raw'],
    [[...qcow2, '-o', 'compat=0.10'], '-o has no option "compat": it knows cluster_size'],
    [[...qcow2, '-o', 'cluster_size=64k,preallocation=full'], '-o has no option "preallocation"'],
    [[...qcow2, '-o', 'cluster_size'], '-o cluster_size has no value'],
    [[...qcow2, '-o', 'cluster_size=3k'], 'qcow2 has no clusters of 3072 bytes'],
    [[...qcow2, '-o', 'cluster_size=4M'], 'qcow2 has no clusters of 4194304 bytes'],
    [[...qcow2, '-o', 'cluster_size=many'], 'many'],
    [[...qcow2, '-o', 'cluster_size=4k', '-o', 'cluster_size=8k'], '-o cluster_size is said twice'],
    [['--convert', 'bochs'], 'bochs'],
    [[...qcow2, '--compress', 'lz4'], 'lz4'],
  ] as const) {
    for (const verb of [
      ['copy', source, to],
      ['sparsify', source, '--output', to],
    ]) {
      const refused = await disktoolHere([...verb, ...args]);
      expect({ args, refused }).toMatchObject({ refused: { status: 2, stderr: expect.stringContaining(words) } });
    }
  }
  for (const flags of [
    ['--convert', 'raw'],
    ['--compress', 'zlib'],
    ['-o', 'cluster_size=64k'],
  ]) {
    expect(await disktoolHere(['sparsify', source, ...flags])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(`${flags[0]} goes with --output`),
    });
  }
  expect(await readdir(folder)).toEqual(['a.img']);
});

test('writes qcow2 to files alone: not to a pipe, a device or an NBD export', async () => {
  const { folder, source } = await rawImage(noise(4096));
  await run('mkfifo', [join(folder, 'fifo')]);
  for (const out of ['-', join(folder, 'fifo'), '/dev/null', 'nbd://localhost:1/a']) {
    expect(await disktoolHere(['copy', '--convert', 'qcow2', source, out])).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining('is no file, and a qcow2 image is written to a file'),
    });
  }
});

for (const signal of ['SIGKILL', 'SIGINT'] as const) {
  it(`leaves nothing, or the whole, after ${signal} at any moment`, () => killed(signal), 120_000);
}

async function killed(signal: 'SIGKILL' | 'SIGINT'): Promise<void> {
  const { folder, source } = await rawImage(Buffer.concat([noise(24 << 20), text(8 << 20)]));
  const kinds = [[], ['--compress', 'zlib'], ['--compress', 'zstd']];
  // SIGKILL, the harder of the two, meets all three.
  const tried = signal === 'SIGKILL' || nightly ? kinds : kinds.slice(1, 2);
  for (const [i, compress] of tried.entries()) {
    const outputs = await mkdtemp(join(folder, `out-${i}-`));
    const to = join(outputs, 'copy.qcow2');
    for (const delay of [0, 150, 250, 300, 350, 400, 500]) {
      const args = ['copy', '--force', '--convert', 'qcow2', ...compress, source, to];
      const copying = execa(process.execPath, [disktoolPath, ...args], { reject: false });
      await sleep(delay + Math.random() * 50);
      copying.kill(signal);
      await copying;
      // Between its link and its rename a copy that replaces has a name of its own for a moment: it is whole.
      for (const name of await readdir(outputs)) {
        await checked(join(outputs, name));
        await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', source, join(outputs, name)]);
      }
    }
  }
}
