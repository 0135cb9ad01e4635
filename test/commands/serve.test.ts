import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { lstat, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, onTestFinished, test } from 'vitest';
import { info, optionBytes, request, u32, WRITE } from '../nbd/raw-client.js';
import { until } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { gptScript, partitioned } from '../support/partition-image.js';
import { attempt, disktool, disktoolHere, disktoolPath, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

async function fileOf(size: number): Promise<{ folder: string; path: string; socketPath: string }> {
  const folder = await temporaryFolder();
  const path = join(folder, 'temp');
  await writeFile(path, '');
  await truncate(path, size);
  return { folder, path, socketPath: join(folder, 'socket') };
}

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

  test.each([
    ['a worker', []],
    ['a layer', ['--error-rate', '0']],
  ])(
    'SIGTERM with half a write received by %s ends it at once with status 0, and none of it is written',
    async (_, layers) => {
      const { path, socketPath } = await fileOf(8 << 20);
      const before = randomBytes(8 << 20);
      await writeFile(path, before);
      const { child, closed, line } = await start(['--file', path, '--socket', socketPath, ...layers]);
      await line();
      const socket = connect({ path: socketPath });
      socket.on('error', () => {}).resume();
      const length = 4 << 20;
      const said = [u32(3), optionBytes(7, info('')), request({ type: WRITE, length }), Buffer.alloc(length / 2)];
      await new Promise((resolve) => socket.write(Buffer.concat(said), resolve));
      const since = performance.now();
      child.kill('SIGTERM');
      expect(await closed).toEqual([0, null]);
      // The grace of clients that take no replies is 3 seconds; this one has none to take.
      expect(performance.now() - since).toBeLessThan(3000);
      expect((await readFile(path)).equals(before)).toBe(true);
    },
  );

  test('with --quiet says where, as the result that it is, and keeps warnings to itself', async () => {
    const { folder, socketPath } = await fileOf(0);
    const keys = join(folder, 'keys');
    await writeFile(keys, 'alice:00ff\n', { mode: 0o644 });
    const args = ['serve', '--memory', '1M', '--socket', socketPath, '--tls-psk', keys];
    for (const quiet of [false, true]) {
      const child = spawn(process.execPath, [disktoolPath, ...args, ...(quiet ? ['--quiet'] : [])]);
      onTestFinished(() => {
        child.kill('SIGKILL');
      });
      let warnings = '';
      child.stderr.on('data', (text: Buffer) => {
        warnings += text.toString();
      });
      const [line] = await once(child.stdout, 'data');
      expect(String(line)).toContain(`at nbds+unix:///?socket=${socketPath}`);
      child.kill('SIGTERM');
      expect(await once(child, 'close')).toEqual([0, null]);
      expect(warnings).toMatch(quiet ? /^$/ : /^disktool: warning: .*everybody on this machine can read/);
    }
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

  test.each([
    ['an export without a name', ['--export', 'a.img']],
    ['two exports of one name', ['--memory', '1M', '--export-name', 'a', '--export', 'a=b.img']],
    ['a rate above 100%', ['--memory', '1M', '--error-rate', '150%']],
    ['an error that nothing meets', ['--memory', '1M', '--errno', 'ENOSPC']],
    ['an error that no client knows', ['--memory', '1M', '--error-rate', '1', '--errno', 'EXDEV']],
    ['a size rounded to nothing', ['--memory', '1M', '--round-up', '0']],
    ['a range without its length', ['--memory', '1M', '--range', '512']],
    ['an overlay for two', ['--memory', '1M', '--export', 'a=b.img', '--cow-file', 'c']],
  ])('with %s exits with status 2 and says why', async (_, args) => {
    const { status, stderr } = await disktoolHere(['serve', ...args]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^disktool: /);
  });

  needs({ programs: ['nbdinfo'] })(
    '--run gives the command the export as nbdkit does, its status is ours, and nothing is left',
    async () => {
      const temporary = await temporaryFolder();
      const command = 'echo "$nbd|$unixsocket|$exportname"; nbdinfo --size "$uri"; exit 5';
      const args = ['serve', '--memory', '12345', '--export-name', 'x y', '--run', command];
      const { status, stdout } = await disktool(args, { env: { TMPDIR: temporary } });
      expect(status).toBe(5);
      const [names = '', size] = stdout.split('\n');
      const [nbd, socket = '', exportName] = names.split('|');
      expect([nbd, exportName, size]).toEqual([`nbd:unix:${socket}:exportname=x y`, 'x y', '12345']);
      expect(await readdir(temporary)).toEqual([]);
    },
  );

  test('--run ends with the command when it is interrupted, and leaves nothing behind', async () => {
    const temporary = await temporaryFolder();
    const child = spawn(
      process.execPath,
      [disktoolPath, 'serve', '--memory', '1M', '--run', 'echo started; exec sleep 1000'],
      { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, TMPDIR: temporary } },
    );
    await once(child.stdout, 'data');
    const closed = once(child, 'close');
    child.kill('SIGINT');
    expect(await closed).toEqual([130, null]);
    expect(await readdir(temporary)).toEqual([]);
  });

  needs({ programs: ['qemu-io'] })('while a file exists every read fails with EIO, and its removal heals', async () => {
    const { folder, path, socketPath } = await fileOf(1 << 20);
    const inject = join(folder, 'inject');
    const { line } = await start(['--file', path, '--error-read-file', inject, '--socket', socketPath]);
    await line();
    const read = () =>
      attempt('qemu-io', ['-r', '-f', 'raw', '-c', 'read 0 4096', `nbd+unix:///?socket=${socketPath}`]);
    expect((await read()).stdout).toContain('read 4096/4096 bytes');
    await writeFile(inject, '');
    expect((await read()).stdout).toContain('Input/output error');
    await rm(inject);
    expect((await read()).stdout).toContain('read 4096/4096 bytes');
  });

  needs({ programs: ['sfdisk', 'nbdcopy'] })(
    '--range of --partition is that range of the partition and no byte more, to read and to write',
    async () => {
      const path = await partitioned(gptScript);
      // As the script says.
      const [from, size] = [4096 * 512, 8192 * 512];
      const disk = await readFile(path);
      randomBytes(size).copy(disk, from);
      await writeFile(path, disk);
      const [offset, length] = [12_345, 678_901];
      const folder = await temporaryFolder();
      const [socketPath, copy] = [join(folder, 'socket'), join(folder, 'copy')];
      const args = [path, '--partition', '/dev/sda2', '--socket', socketPath, '--range'];
      const { child, closed, line } = await start([...args, `${offset}+${length}`]);
      expect(await line()).toContain(`serving bytes ${offset}+${length} of /dev/sda2 of a.img`);
      const uri = `nbd+unix:///?socket=${socketPath}`;
      await run('nbdcopy', [uri, copy]);
      const range = disk.subarray(from + offset, from + offset + length);
      expect((await readFile(copy)).equals(range)).toBe(true);
      randomBytes(length).copy(range);
      await writeFile(copy, range);
      await run('nbdcopy', [copy, uri]);
      child.kill('SIGTERM');
      expect(await closed).toEqual([0, null]);
      expect((await readFile(path)).equals(disk)).toBe(true);
      // The disk goes on where the partition ends.
      const past = await disktoolHere(['serve', ...args, `${size - 512}+513`]);
      expect(past).toMatchObject({ status: 2, stderr: expect.stringContaining('pass the end') });
    },
  );

  needs({ programs: ['nbdcopy'] })('--stats says at the end what was done', async () => {
    const { stderr } = await disktool(['serve', '--memory', '1M', '--stats', '--run', 'nbdcopy "$uri" null:']);
    expect(stderr).toMatch(
      /^Export +Operation +Requests +Failed +Bytes +Average +Slowest\n\(default\) +extents +1 +0 /,
    );
  });

  needs({ programs: ['nbdinfo', 'nbdcopy'] })(
    'serves on sockets that are passed on as systemd does it, and refuses to be told others',
    async () => {
      const { folder, path } = await fileOf(100_000);
      const ours = [process.execPath, disktoolPath, 'serve', path];
      // Its standard output is the client's: nothing of ours is there.
      expect(await run('nbdinfo', ['--size', '--', '[', ...ours, ']'])).toBe('100000');
      const copied = await attempt('nbdcopy', ['--', '[', ...ours, ']', join(folder, 'copy')]);
      expect(copied.status).toBe(0);
      expect((await stat(join(folder, 'copy'))).size).toBe(100_000);
      const told = await attempt('nbdinfo', ['--size', '--', '[', ...ours, '--port', '0', ']']);
      expect(told.status).not.toBe(0);
      expect(told.stderr).toContain('sockets were passed to us');
    },
  );

  needs({ programs: ['python3', 'nbdinfo'] })('--single serves the program that started it on a socket', async () => {
    const { path } = await fileOf(100_000);
    const script = `
import nbd, sys
h = nbd.NBD()
h.connect_command(sys.argv[1:])
h.pwrite(b"written", 99_990)
h.flush()
print(h.get_size(), bytes(h.pread(10, 99_990)))
h.shutdown()
`;
    const ours = [process.execPath, disktoolPath, 'serve', '--single', path];
    expect(await run('/usr/bin/python3', ['-c', script, ...ours])).toBe(String.raw`100000 b'written\x00\x00\x00'`);
    expect((await readFile(path)).toString('latin1', 99_990, 99_997)).toBe('written');
  });

  needs({ programs: ['nbdcopy'] })('--single serves through two pipes, and ends when its client does', async () => {
    const { folder, path } = await fileOf(0);
    const bytes = randomBytes(3_000_000);
    await writeFile(path, bytes);
    const ended: Promise<unknown>[] = [];
    // As ssh does it.
    const relay = createServer((socket) => {
      const child = spawn(process.execPath, [disktoolPath, 'serve', '--single', path], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      socket.pipe(child.stdin);
      child.stdout.pipe(socket);
      ended.push(new Promise((resolve) => child.once('exit', resolve)));
    });
    const socketPath = join(folder, 'relay');
    await new Promise<void>((resolve) => relay.listen(socketPath, resolve));
    const copy = join(folder, 'copy');
    await run('nbdcopy', ['--connections=1', `nbd+unix:///?socket=${socketPath}`, copy]);
    expect((await readFile(copy)).equals(bytes)).toBe(true);
    expect(await Promise.all(ended)).toEqual([0]);
    await new Promise((resolve) => relay.close(resolve));
  });

  test('--single without a client on standard input says so', async () => {
    const { path } = await fileOf(4096);
    const { status, stderr } = await disktool(['serve', '--single', path]);
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining('is no connection') });
    expect((await disktoolHere(['serve', '--single', '--port', '0', path])).status).toBe(2);
  });

  test('--exit-with-parent ends it when its parent is killed', async () => {
    const { path, socketPath } = await fileOf(4096);
    const args = [disktoolPath, 'serve', path, '--socket', socketPath, '--exit-with-parent'];
    const command = `"$0" "$@" & echo started; wait`;
    const parent = spawn('sh', ['-c', command, process.execPath, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface(parent.stdout)[Symbol.asyncIterator]();
    await lines.next();
    expect((await lines.next()).value).toContain('serving temp');
    parent.kill('SIGKILL');
    await until(async () => !(await readdir(join(socketPath, '..'))).includes('socket'));
  });
});
