import { randomBytes } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { mounted } from '../support/mounted.js';
import { nbdfuse } from '../support/nbdfuse.js';
import { needs } from '../support/needs.js';
import { attempt, run } from '../support/run.js';
import { served } from '../support/served.js';
import { mountLoop, temporaryFolder } from '../support/temporary.js';

/** Bytes: the largest disk that there can be, which is no multiple of 512. */
const largest = 2n ** 63n - 1n;

describe('a sparse file of 2^63 - 1 bytes', () => {
  const it = needs({
    programs: ['mkfs.xfs', 'mount', 'nbdfuse', 'nbdinfo', 'fusermount3', 'sgdisk', 'sfdisk'],
    devices: ['/dev/fuse'],
    root: true,
  });

  it('on XFS is partitioned up to its last whole sector, and takes only the room of its tables', async () => {
    // No other filesystem of Linux has files of that size.
    const { mountPoint } = await mounted('xfs');
    const path = join(mountPoint, 'huge');
    await writeFile(path, '');
    await run('truncate', ['--size', String(largest), path]);
    const whole = await served(['--file', path]);
    const { file, unmount } = await nbdfuse(whole.uri);
    await run('sgdisk', ['--new=1:0:+1G', '--new=2:0:0', file]);
    const checked = await attempt('sgdisk', ['--verify', file]);
    expect(checked.stdout).toContain('No problems found');
    await unmount();
    await whole.stop();

    // The backup header is in the last whole sector, after 32 sectors of entries: partitions end before those.
    const sectors = largest / 512n;
    const [start, size] = [2_099_200n, sectors - 33n - 2_099_200n];
    const table = await run('sfdisk', ['--dump', path]);
    expect(table).toContain(`last-lba: ${sectors - 34n}`);
    expect(table).toMatch(new RegExp(`start= *${start}, size= *${size},`));
    expect((await stat(path)).blocks * 512).toBeLessThan(1 << 20);
    const second = await served(['--file', path, '--partition', '/dev/sda2']);
    expect(await run('nbdinfo', ['--size', second.uri])).toBe(String(size * 512n));
  });
});

describe('2^63 - 1 bytes of memory', () => {
  const programs = ['nbdinfo', 'nbdfuse', 'fusermount3', 'mkfs.btrfs', 'btrfs', 'mount', 'losetup'] as const;

  needs({ programs: ['nbdinfo'] })('are told to the byte', async () => {
    const { uri } = await served(['--memory', '2^63-1']);
    expect(await run('nbdinfo', ['--size', uri])).toBe('9223372036854775807');
  });

  needs({ programs, devices: ['/dev/fuse'] })('take a btrfs, whose checks find nothing', async () => {
    const { uri } = await served(['--memory', '2^63-1']);
    const { file } = await nbdfuse(uri);
    // -K: its discard of the whole would ask for it in pieces of 1 GiB.
    await run('mkfs.btrfs', ['-q', '-K', file]);
    const blocks = largest / 4096n;
    expect(await run('btrfs', ['inspect-internal', 'dump-super', file])).toMatch(
      new RegExp(`^total_bytes\\s+${blocks * 4096n}$`, 'm'),
    );
    expect(await run('btrfs', ['check', file])).toContain('no error found');
  });

  needs({ programs, devices: ['/dev/fuse'], root: true })('keep the files of a mounted btrfs', async () => {
    const { uri } = await served(['--memory', '2^63-1']);
    const { file } = await nbdfuse(uri);
    await run('mkfs.btrfs', ['-q', '-K', file]);
    const data = randomBytes(20 << 20);
    const first = await mountLoop(file);
    await writeFile(join(first.mountPoint, 'written'), data);
    await first.unmount();
    const again = await mountLoop(file, ['ro']);
    expect((await readFile(join(again.mountPoint, 'written'))).equals(data)).toBe(true);
    await again.unmount();
  });
});

describe('--error-file', () => {
  needs({ programs: ['python3', 'nbdinfo'] })(
    'fails every read while the file is there, and removing it heals',
    async () => {
      const inject = join(await temporaryFolder(), 'inject');
      const { uri, stop } = await served(['--memory', '64M', '--error-file', inject]);
      // One connection sees the file come and go, as a guest does.
      const script = `
import errno, nbd, os, sys
h = nbd.NBD()
h.connect_uri(sys.argv[1])
h.pwrite(b"x" * 65536, 0)
for _ in range(3):
    for i in range(10):
        assert h.pread(4096, i * 4096) == b"x" * 4096
    open(sys.argv[2], "w").close()
    for i in range(10):
        try:
            h.pread(4096, i * 4096)
        except nbd.Error as error:
            assert error.errnum == errno.EIO, error
        else:
            raise AssertionError("a read succeeded")
    os.unlink(sys.argv[2])
h.shutdown()
`;
      // The libnbd module belongs to Debian's own Python.
      await run('/usr/bin/python3', ['-c', script, uri, inject]);
      await stop();
    },
  );

  needs({ programs: ['nbdfuse', 'fusermount3'], devices: ['/dev/fuse'] })(
    "fails the reads of an nbdfuse file by the shell's own touch and rm",
    async () => {
      const inject = join(await temporaryFolder(), 'inject');
      const { uri } = await served(['--memory', '64M', '--error-file', inject]);
      const { file } = await nbdfuse(uri);
      // Past the page cache, which would answer for the server.
      const read = () =>
        attempt('dd', [`if=${file}`, 'of=/dev/null', 'bs=4k', 'count=16', 'iflag=direct'], { env: { LC_ALL: 'C' } });
      expect((await read()).status).toBe(0);
      await run('touch', [inject]);
      expect(await read()).toMatchObject({ status: 1, stderr: expect.stringContaining('Input/output error') });
      await run('rm', [inject]);
      expect((await read()).status).toBe(0);
    },
  );
});
