import { lstat, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ExportOptions, ServeSource } from '../../../src/task/serve/open-export.js';
import { type ServeOptions, type ServeReady, type ServeResult, serve } from '../../../src/task/serve/serve.js';
import { needs } from '../../support/needs.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

interface One extends Partial<ExportOptions>, Partial<Omit<ServeOptions, 'exports'>> {
  readonly source: ServeSource;
  readonly others?: readonly ExportOptions[];
}

/** Serves until the test or the caller stops it. */
async function serving({ address, run: command, pidFile, logFile, others = [], ...one }: One) {
  const abort = new AbortController();
  const warnings: string[] = [];
  const first: ExportOptions = { name: '', readOnly: false, layers: {}, ...one };
  let over: Promise<ServeResult> | undefined;
  const ready = await new Promise<ServeReady[]>((resolve, reject) => {
    const context = { signal: abort.signal, onWarning: (message: string) => warnings.push(message) };
    over = serve({ exports: [first, ...others], address, run: command, pidFile, logFile }, context, resolve);
    over.catch(reject);
  });
  const stop = async () => {
    abort.abort();
    return await over;
  };
  onTestFinished(async () => {
    await stop();
  });
  const [firstReady] = ready;
  if (firstReady === undefined) throw new Error('nothing is served');
  return { ready: firstReady, all: ready, warnings, stop, ended: over };
}

async function fileOf(size: number, name = 'temp'): Promise<{ folder: string; path: string; socketPath: string }> {
  const folder = await temporaryFolder();
  const path = join(folder, name);
  await writeFile(path, '');
  await truncate(path, size);
  return { folder, path, socketPath: join(folder, 'socket') };
}

describe('serve', () => {
  test('tells where, what and how large, and stops in good order', async () => {
    const { path, socketPath } = await fileOf(1000);
    const { ready, stop } = await serving({ source: { file: path }, address: { socketPath }, name: 'x' });
    expect(ready).toEqual({
      uri: `nbd+unix:///x?socket=${socketPath}`,
      exportName: 'x',
      name: 'temp',
      size: 1000n,
      readOnly: false,
    });
    await stop();
    await expect(lstat(socketPath)).rejects.toThrow('ENOENT');
  });

  test('of a file that is not there says how to make it', async () => {
    const { folder, socketPath } = await fileOf(0);
    const source = { file: join(folder, 'none') };
    await expect(serving({ source, address: { socketPath } })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('truncate -s'),
    });
  });

  test('of --file takes bytes that look like a qcow2 image for bytes, and IMAGE does not', async () => {
    const { path, socketPath } = await fileOf(4096);
    await writeFile(path, Buffer.concat([Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), Buffer.alloc(4088)]));
    await expect(serving({ source: { image: path }, address: { socketPath } })).rejects.toMatchObject({
      code: 'CORRUPT',
    });
    expect((await serving({ source: { file: path }, address: { socketPath } })).ready.size).toBe(4096n);
  });

  test('for writing keeps every other writer out', async () => {
    const { path, folder } = await fileOf(4096);
    await serving({ source: { file: path }, address: { socketPath: join(folder, 'a') } });
    const second = serving({ source: { file: path }, address: { socketPath: join(folder, 'b') } });
    await expect(second).rejects.toMatchObject({ code: 'BUSY' });
  });

  test('read-only in memory is told so', async () => {
    const { socketPath } = await fileOf(0);
    const options = { source: { memory: 2n ** 63n - 1n }, address: { socketPath }, readOnly: true };
    expect((await serving(options)).ready).toMatchObject({ size: 2n ** 63n - 1n, readOnly: true });
  });

  test('warns of an address that other machines reach', async () => {
    const options = { source: { memory: 1n }, address: { host: '0.0.0.0', port: 0 } };
    expect((await serving(options)).warnings).toEqual([expect.stringContaining('0.0.0.0')]);
    const { warnings } = await serving({ ...options, address: { host: 'localhost', port: 0 } });
    expect(warnings).toEqual([]);
  });

  needs({ programs: ['nbdinfo'] })('listens on localhost over TCP', async () => {
    const { ready } = await serving({ source: { memory: 12_345n }, address: { host: 'localhost', port: 0 } });
    expect(await run('nbdinfo', ['--size', ready.uri])).toBe('12345');
  });

  needs({ programs: ['sfdisk', 'qemu-io'] })('of a partition serves its bytes alone', async () => {
    const { path, socketPath } = await fileOf(8 << 20);
    await run('sh', ['-c', `printf 'start=2048,size=4096\\nstart=8192,size=1024\\n' | sfdisk -q "$0"`, path]);
    const source = { image: path };
    const { ready, stop } = await serving({ source, address: { socketPath }, partition: '/dev/sda2' });
    expect(ready.size).toBe(524_288n);
    await run('qemu-io', ['-f', 'raw', '-c', 'write -P 9 512 512', ready.uri]);
    await stop();
    const bytes = await readFile(path);
    expect(bytes.indexOf(9, 1024)).toBe(8192 * 512 + 512);
  });

  test('of a range reports its size and place, and refuses one past the end', async () => {
    const { path, socketPath } = await fileOf(10_000);
    const range = { offset: 3n, length: 511n };
    const { ready, stop } = await serving({ source: { file: path }, address: { socketPath }, range });
    expect(ready).toMatchObject({ size: 511n, name: 'bytes 3+511 of temp' });
    await stop();
    const past = { source: { file: path }, address: { socketPath }, range: { offset: 9999n, length: 2n } };
    await expect(serving(past)).rejects.toMatchObject({ code: 'USAGE' });
  });

  needs({ programs: ['qemu-io'] })('of several exports keeps each under its name', async () => {
    const { path, folder, socketPath } = await fileOf(1 << 20);
    const more = join(folder, 'more');
    await writeFile(more, Buffer.alloc(2 << 20));
    const others = [{ name: 'ä/b', source: { image: more }, readOnly: false, layers: {} }];
    const { all, stop } = await serving({ source: { file: path }, address: { socketPath }, others });
    expect(all.map(({ exportName, size }) => [exportName, size])).toEqual([
      ['', 1n << 20n],
      ['ä/b', 2n << 20n],
    ]);
    for (const [index, { uri }] of all.entries()) {
      await run('qemu-io', ['-f', 'raw', '-c', `write -P ${index + 1} 0 512`, uri]);
    }
    await stop();
    expect([(await readFile(path))[511], (await readFile(more))[511]]).toEqual([1, 2]);
  });

  test('of two exports of one name, or an image that is gone, serves nothing and lets go of the others', async () => {
    const { path, socketPath } = await fileOf(4096);
    const one = { source: { file: path }, address: { socketPath } };
    const same = { name: '', source: { memory: 1n }, readOnly: false, layers: {} };
    await expect(serving({ ...one, others: [same] })).rejects.toMatchObject({ code: 'USAGE' });
    const gone = { ...same, name: 'x', source: { image: `${path}.none` } };
    await expect(serving({ ...one, others: [gone] })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await serving(one)).ready.size).toBe(4096n);
  });

  needs({ programs: ['qemu-io'] })(
    'with an overlay takes writes and leaves the image, and no file, behind',
    async () => {
      const { path, folder, socketPath } = await fileOf(1 << 20);
      const before = await readFile(path);
      for (const cow of ['memory', { file: join(folder, 'overlay') }] as const) {
        const { ready, stop } = await serving({ source: { file: path }, address: { socketPath }, cow });
        expect(ready.readOnly).toBe(false);
        const write = ['-c', 'write -P 9 100 5000', '-c', 'read -P 9 100 5000', '-c', 'read -P 0 0 100'];
        expect(await run('qemu-io', ['-f', 'raw', ...write, ready.uri])).not.toContain('failed');
        await stop();
        expect((await readFile(path)).equals(before)).toBe(true);
        expect(await readdir(folder)).toEqual(['temp']);
      }
    },
  );

  test('never overwrites a file with an overlay', async () => {
    const { path, socketPath } = await fileOf(4096);
    const options = { source: { memory: 4096n }, address: { socketPath }, cow: { file: path } };
    await expect(serving(options)).rejects.toMatchObject({ errno: 'EEXIST' });
    expect((await stat(path)).size).toBe(4096);
  });

  needs({ programs: ['qemu-io'] })('writes a log and counts, as the client asked', async () => {
    const { folder, socketPath } = await fileOf(0);
    const logFile = join(folder, 'log');
    const options = { source: { memory: 1n << 20n }, address: { socketPath }, logFile, layers: { stats: true } };
    const { ready, stop } = await serving(options);
    await run('qemu-io', ['-f', 'raw', '-c', 'write -P 1 4096 512', ready.uri]);
    const result = await stop();
    expect(await readFile(logFile, 'utf8')).toMatch(/^\d+ write offset=0x1000 length=0x200$/m);
    expect(result?.stats[0]?.[1].get('write')).toMatchObject({ requests: 1, failures: 0, bytes: 512n });
  });

  test('writes its process id for as long as clients can connect', async () => {
    const { folder, socketPath } = await fileOf(0);
    const pidFile = join(folder, 'pid');
    const { stop } = await serving({ source: { memory: 1n }, address: { socketPath }, pidFile });
    expect(await readFile(pidFile, 'utf8')).toBe(`${process.pid}\n`);
    await stop();
    await expect(readFile(pidFile)).rejects.toThrow('ENOENT');
  });

  test('a command beside it ends it, and its status is told', async () => {
    const { ended } = await serving({ source: { memory: 1n }, run: 'exit 7' });
    expect((await ended)?.status).toBe(7);
    const { ended: killed } = await serving({ source: { memory: 1n }, run: 'kill -9 $$' });
    expect((await killed)?.status).toBe(137);
  });

  test('a command beside it is stopped with it', async () => {
    const { stop } = await serving({ source: { memory: 1n }, run: 'exec sleep 1000' });
    expect((await stop())?.status).toBe(143);
  });

  test('warns QEMU’s users of a disk that is too large for it', async () => {
    const { warnings, ended } = await serving({ source: { memory: 2n ** 63n - 1n }, run: 'true qemu-img' });
    await ended;
    expect(warnings).toEqual([expect.stringContaining('QEMU opens at most 9223372035781033984 bytes')]);
  });
});
