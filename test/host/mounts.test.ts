import { mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { backingMount, mountAt, mountOf, parseMountinfo, readMounts } from '../../src/host/mounts.js';
import { mounted } from '../support/mounted.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';
import { mountLoop, temporaryFolder } from '../support/temporary.js';

const loop = needs({ programs: ['mke2fs', 'mount'], root: true });
const tmpfs = needs({ programs: ['mount'], root: true });

describe('parseMountinfo', () => {
  // The line of proc(5), section /proc/pid/mountinfo.
  const line = '36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n';

  test('reads the line that proc(5) gives', () => {
    expect(parseMountinfo(line)).toEqual([
      {
        id: 36,
        parent: 35,
        device: '98:0',
        mountPoint: '/mnt2',
        type: 'ext3',
        source: '/dev/root',
        readOnly: false,
        filesystemReadOnly: false,
      },
    ]);
  });

  test('calls a mount read-only when either the mount or its filesystem is', () => {
    const modes = [line.replace('rw,noatime', 'ro,noatime'), line.replace('rw,errors', 'ro,errors')];
    expect(modes.flatMap(parseMountinfo).map(({ readOnly }) => readOnly)).toEqual([true, true]);
  });

  test('leaves out a line that is cut short', () => {
    expect(parseMountinfo('36 35 98:0 /mnt1\n\n - ext4\n')).toEqual([]);
  });
});

describe('mountAt', () => {
  tmpfs('finds a mount point whose name holds a space, a newline and a backslash', async () => {
    const folder = join(await realpath(await temporaryFolder()), 'a b\nc\\040d é');
    await mkdir(folder);
    await run('mount', ['-t', 'tmpfs', 'none', folder]);
    try {
      expect(mountAt(folder)).toMatchObject({ mountPoint: folder, type: 'tmpfs' });
    } finally {
      await run('umount', [folder]);
    }
  });

  test('names the mount that another path lies on', async () => {
    const folder = await temporaryFolder();
    const holder = mountOf(await realpath(folder), readMounts());
    expect(() => mountAt(folder)).toThrow(`not a mount point: it lies on the mount ${holder?.mountPoint}`);
  });

  test('says that a path is not there', () => {
    expect(() => mountAt('/no/such/folder')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  });
});

loop('knows the mount that the file of a loop device lies on', async () => {
  const outer = await mounted('ext4');
  const image = join(outer.mountPoint, 'inner.img');
  await run('mke2fs', ['-q', image, '16M']);
  const inner = await mountLoop(image);
  const mounts = readMounts();
  const found = backingMount(mountAt(inner.mountPoint, mounts), mounts);
  await inner.unmount();
  expect(found?.mountPoint).toBe(await realpath(outer.mountPoint));
});
