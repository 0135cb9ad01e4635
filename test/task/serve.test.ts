import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstat, readFile, truncate, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type ServeOptions, type ServeReady, serve } from '../../src/task/serve.js';
import { needs } from '../support/needs.js';
import { disktoolPath, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

/** Serves until the test or the caller stops it. */
async function serving(
  options: ServeOptions,
): Promise<{ ready: ServeReady; warnings: string[]; stop(): Promise<void> }> {
  const abort = new AbortController();
  const warnings: string[] = [];
  let over: Promise<void> | undefined;
  const ready = await new Promise<ServeReady>((resolve, reject) => {
    const context = { signal: abort.signal, onWarning: (message: string) => warnings.push(message) };
    over = serve(options, context, resolve);
    over.catch(reject);
  });
  const stop = async () => {
    abort.abort();
    await over;
  };
  onTestFinished(stop);
  return { ready, warnings, stop };
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
    const { ready, stop } = await serving({ source: { file: path }, address: { socketPath }, exportName: 'x' });
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
      code: 'UNSUPPORTED',
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
});

describe('disktool serve', () => {
  const start = async (args: readonly string[]) => {
    const child = spawn(process.execPath, [disktoolPath, 'serve', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    const closed = once(child, 'close');
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    return { child, closed, line: async (): Promise<unknown> => (await lines.next()).value };
  };

  test('prints one line when clients can connect, and SIGTERM ends it with status 0', async () => {
    const { path, socketPath } = await fileOf(3 << 20);
    const { child, closed, line } = await start(['--file', path, '--socket', socketPath]);
    expect(await line()).toBe(`serving temp (3.0M) at nbd+unix:///?socket=${socketPath}`);
    const idle = connect({ path: socketPath });
    await once(idle, 'connect');
    child.kill('SIGTERM');
    expect(await closed).toEqual([0, null]);
    await expect(lstat(socketPath)).rejects.toThrow('ENOENT');
  });

  test('with --json prints one document then', async () => {
    const { socketPath } = await fileOf(0);
    const { child, closed, line } = await start(['--memory', '2^63-1', '--socket', socketPath, '--json']);
    let text = '';
    do text += String(await line());
    while (!text.endsWith('}'));
    expect(text).toContain('"size": 9223372036854775807');
    expect(text).toContain(`"uri": "nbd+unix:///?socket=${socketPath}"`);
    child.kill('SIGINT');
    expect(await closed).toEqual([0, null]);
  });

  test.each([
    ['nothing to serve', []],
    ['two things to serve', ['a.img', '--memory', '1M']],
    ['a port that is none', ['--memory', '1M', '--port', '70000']],
    ['two ways to listen', ['--memory', '1M', '--socket', 's', '--port', '1']],
    ['two writers', ['a.img', '--force-share']],
  ])('with %s exits with status 2', async (_, args) => {
    const child = spawn(process.execPath, [disktoolPath, 'serve', ...args], { stdio: 'ignore' });
    expect(await once(child, 'close')).toEqual([2, null]);
  });
});
