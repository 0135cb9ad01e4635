import { randomBytes } from 'node:crypto';
import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished } from 'vitest';
import type { BlockDevice } from '../../src/device/block-device.js';
import { memoryDevice } from '../../src/device/memory-device.js';
import { type Address, NbdServer } from '../../src/nbd/index.js';
import { needs } from '../support/needs.js';
import { attempt, run } from '../support/run.js';
import { served } from '../support/served.js';
import { temporaryFolder } from '../support/temporary.js';

const MiB = 1 << 20;

/** Serves devices, the first of which is the default export, until the test ends. */
async function serving(
  devices: Readonly<Record<string, BlockDevice>>,
  { address, readOnly = false }: { address?: Address; readOnly?: boolean } = {},
): Promise<NbdServer> {
  const exports = Object.entries(devices).map(([name, device]) => ({
    name,
    description: `disk ${name}`,
    device,
    readOnly,
  }));
  const server = await NbdServer.listen(exports, address ?? { socketPath: join(await temporaryFolder(), 'socket') });
  onTestFinished(async () => {
    await server.close();
    for (const { device } of exports) await device.close();
  });
  return server;
}

describe('nbd-client', () => {
  needs({ programs: ['nbd-client'] })('-l lists every export with its description', async () => {
    const devices = { first: memoryDevice(512n), 'the second': memoryDevice(512n) };
    const { address } = await serving(devices, { address: { host: '127.0.0.1', port: 0 } });
    const port = 'port' in address ? address.port : 0;
    const { status, stdout } = await attempt('nbd-client', ['-l', '127.0.0.1', String(port)]);
    expect({ status, lines: stdout.split('\n').slice(1) }).toEqual({
      status: 0,
      lines: ['first: disk first', 'the second: disk the second'],
    });
  });
});

describe('fio', () => {
  const it = needs({ programs: ['fio'] });
  const verified = async (uri: string, ...options: string[]) => {
    // It leaves a file of the verification's state where it runs.
    const output = await run(
      'fio',
      [
        ...['--name=verify', '--ioengine=nbd', `--uri=${uri}`, '--iodepth=16', '--verify=crc32c', '--verify_fatal=1'],
        ...['--do_verify=1', '--output-format=json', ...options],
      ],
      { cwd: await temporaryFolder() },
    );
    const told: unknown = JSON.parse(output.slice(output.indexOf('{')));
    return told;
  };

  for (const source of ['--file', '--memory']) {
    it(`reads back what it has written at random to ${source}`, async () => {
      const path = join(await temporaryFolder(), 'disk');
      await writeFile(path, '');
      await truncate(path, 64 * MiB);
      const { uri, stop } = await served(source === '--file' ? [source, path] : [source, '64M']);
      const sizes = ['--rw=randwrite', '--bsrange=512-256k', '--bs_unaligned=1'];
      expect(await verified(uri, ...sizes, '--size=32m')).toMatchObject({ jobs: [{ error: 0 }] });
      expect(await verified(uri, '--rw=randrw', '--bs=4k', '--fsync=8', '--size=8m')).toMatchObject({
        jobs: [{ error: 0 }],
      });
      await stop();
    });
  }
});

describe('nbdcopy', () => {
  needs({ programs: ['nbdcopy'] })('copies from one server to another over several connections', async () => {
    const folder = await temporaryFolder();
    const paths = ['from', 'to'].map((name) => join(folder, name));
    const [source = '', target = ''] = paths;
    const data = randomBytes(5 * MiB);
    for (const path of paths) {
      await writeFile(path, path === source ? data : '');
      await truncate(path, 48 * MiB + 1);
    }
    const [from, to] = [await served(['--file', source]), await served(['--file', target])];
    await run('nbdcopy', ['--connections=4', '--requests=64', '--flush', from.uri, to.uri]);
    await Promise.all([from.stop(), to.stop()]);
    expect((await readFile(target)).equals(await readFile(source))).toBe(true);
    expect((await stat(target)).blocks * 512).toBeLessThan(6 * MiB);
  });
});

describe('libnbd without its own checks', () => {
  const it = needs({ programs: ['python3', 'nbdinfo'] });

  /** Sends what libnbd's strict mode would refuse. `fails` demands an errno, and that the connection goes on. */
  const preamble = `
import errno, nbd, sys
h = nbd.NBD()
h.set_request_structured_replies(sys.argv[2] == "structured")
h.add_meta_context("base:allocation")
h.set_strict_mode(0)
h.connect_uri(sys.argv[1])
h.set_strict_mode(0)
size = h.get_size()
def fails(expected, call, *args):
    try:
        call(*args)
    except nbd.Error as error:
        assert error.errnum == expected, (call, args, error)
    else:
        raise AssertionError((call, args))
    assert h.aio_is_ready()
    assert h.pread(1, 0) == b"\\0"
status = lambda *args: None
`;
  const script = (text: string, { uri }: NbdServer, style: string) =>
    // The libnbd module belongs to Debian's own Python.
    run('/usr/bin/python3', ['-c', preamble + text, uri, style]);

  for (const style of ['simple', 'structured']) {
    it(`gets the right errno for each fault, with ${style} replies, and goes on`, async () => {
      const server = await serving({ '': memoryDevice(BigInt(MiB)) });
      await script(
        `
past = [(1048576, 1), (1048575, 2), (2**63 - 1, 1), (0, 1048577)]
for offset, length in past:
    fails(errno.EINVAL, h.pread, length, offset)
    fails(errno.ENOSPC, h.pwrite, b"x" * length, offset)
    fails(errno.ENOSPC, h.zero, length, offset)
    fails(errno.EINVAL, h.trim, length, offset)
    fails(errno.EINVAL, h.cache, length, offset)
    fails(errno.EINVAL, h.block_status, length, offset, status)
for flag in [nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_REQ_ONE, nbd.CMD_FLAG_FAST_ZERO, 1 << 9, 1 << 15]:
    fails(errno.EINVAL, h.pread, 512, 0, flag)
    fails(errno.EINVAL, h.pwrite, b"x" * 512, 0, flag)
    fails(errno.EINVAL, h.flush, flag)
    fails(errno.EINVAL, h.trim, 512, 0, flag)
    fails(errno.EINVAL, h.cache, 512, 0, flag)
for flag in [nbd.CMD_FLAG_DF, nbd.CMD_FLAG_REQ_ONE, 1 << 9]:
    fails(errno.EINVAL, h.zero, 512, 0, flag)
for flag in [nbd.CMD_FLAG_DF, nbd.CMD_FLAG_NO_HOLE, 1 << 9]:
    fails(errno.EINVAL, h.block_status, 512, 0, status, flag)
fails(errno.EINVAL, h.block_status, 0, 0, status)
if sys.argv[2] == "simple":
    fails(errno.EINVAL, h.block_status, 512, 0, status)
    fails(errno.EINVAL, h.pread, 512, 0, nbd.CMD_FLAG_DF)
else:
    h.block_status(512, 0, status)
    assert h.pread(512, 0, nbd.CMD_FLAG_DF) == b"\\0" * 512
for length in [0, 1]:
    h.trim(length, 0); h.zero(length, 0); h.cache(length, 0)
h.pwrite(b"", 5)
h.shutdown()
`,
        server,
        style,
      );
    });

    it(`is kept from a read-only export with EPERM, with ${style} replies, and goes on`, async () => {
      const server = await serving({ '': memoryDevice(BigInt(MiB)) }, { readOnly: true });
      await script(
        `
assert h.is_read_only()
fails(errno.EPERM, h.pwrite, b"x" * 70000, 0)
fails(errno.EPERM, h.zero, 512, 0)
fails(errno.EPERM, h.trim, 512, 0)
h.flush()
h.shutdown()
`,
        server,
        style,
      );
    });
  }
});

describe('qemu-io', () => {
  needs({ programs: ['qemu-io'] })(
    'finds what it wrote from another connection, and FUA and flushes in order',
    async () => {
      const path = join(await temporaryFolder(), 'disk');
      await writeFile(path, '');
      await truncate(path, 8 * MiB);
      const { uri, stop } = await served(['--file', path]);
      const io = (...commands: string[]) =>
        attempt('qemu-io', ['-f', 'raw', '-d', 'unmap', ...commands.flatMap((command) => ['-c', command]), uri]);
      const first = await io(
        'aio_write -P 1 0 1M',
        'aio_write -P 2 1M 1M',
        'aio_flush',
        'write -f -P 3 2M 64k',
        'discard 3M 1M',
      );
      expect(`${first.stdout}${first.stderr}`).not.toMatch(/failed|error/i);
      const second = await io('read -P 1 0 1M', 'read -P 2 1M 1M', 'read -P 3 2M 64k', 'read -P 0 2112k 5M');
      expect(second.stdout).not.toMatch(/verification failed/i);
      expect(second.stdout.match(/^read \d+\/\d+ bytes/gm)).toHaveLength(4);
      await stop();
      const bytes = await readFile(path);
      expect([bytes[0], bytes[MiB], bytes[2 * MiB], bytes[3 * MiB], bytes.length]).toEqual([1, 2, 3, 0, 8 * MiB]);
    },
  );
});
