import { spawn } from 'node:child_process';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { describe, expect, onTestFinished } from 'vitest';
import { viewOf } from '../../../src/binary/layout.js';
import { crcWithout } from '../../../src/filesystem/xfs/checksum.js';
import { Log } from '../../../src/filesystem/xfs/log.js';
import { recordChecksum, recordMagic } from '../../../src/filesystem/xfs/log-on-disk.js';
import { incompat, roCompat, xfsSuperblock } from '../../../src/filesystem/xfs/on-disk.js';
import { readSuperblock } from '../../../src/filesystem/xfs/superblock.js';
import { XfsVolume } from '../../../src/filesystem/xfs/volume.js';
import { openXfs } from '../../../src/filesystem/xfs/xfs.js';
import { safetyNet } from '../../support/mounted.js';
import { needs } from '../../support/needs.js';
import { change } from '../../support/partition-image.js';
import { openRaw } from '../../support/raw-device.js';
import { attempt, disktool, run } from '../../support/run.js';
import { mountLoop, temporaryFolder } from '../../support/temporary.js';
import { emptyXfs, xfsDbFree, xfsRepair } from '../../support/xfs-image.js';

const programs = ['mkfs.xfs', 'mount', 'fsfreeze', 'python3'] as const;
const it = needs({ programs, root: true });
const slow = needs({ programs, root: true, slow: true });
const plain = needs({ programs: ['mkfs.xfs'] });

async function stateOf(path: string) {
  await using device = await openRaw(path);
  return (await openXfs(device)).state;
}

/** Makes and removes files, each of them logged at once: a log of this size is gone round in some seconds. */
const writer = `
import os, sys
os.chdir(sys.argv[1])
i = 0
while True:
    i += 1
    name = 'd%d' % (i % 9)
    os.makedirs(name, exist_ok=True)
    fd = os.open('%s/f%d' % (name, i % 40), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b'x' * (i % 5000))
    os.fsync(fd)
    os.close(fd)
    if i % 3 == 0:
        os.unlink('%s/f%d' % (name, i % 40))
`;

/** Starts the writer; it ends with the test, or when it is told to. */
function load(mountPoint: string): { stop: () => Promise<void> } {
  const child = spawn('/usr/bin/python3', ['-c', writer, mountPoint], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  onTestFinished(stop);
  return { stop };
}

/** Copies an image as a snapshot would. */
async function snapshot(image: string): Promise<string> {
  const path = join(await temporaryFolder(), 'snapshot.img');
  await run('cp', ['--sparse=always', image, path]);
  return path;
}

describe('the log of XFS', () => {
  slow(
    'is clean in copies of a frozen filesystem under load, also when it has gone round, and what is free then is what xfs_db lists',
    async () => {
      const path = await emptyXfs('', '64M');
      const { mountPoint, unmount } = await mountLoop(path);
      safetyNet(mountPoint, 60);
      const { stop } = load(mountPoint);
      const { start } = await logOf(path);
      for (let cycle = 1; cycle < 2; ) {
        await new Promise((resolve) => setTimeout(resolve, 2000));
        await run('fsfreeze', ['--freeze', mountPoint]);
        const copy = await snapshot(path);
        await run('fsfreeze', ['--unfreeze', mountPoint]);
        await using device = await openRaw(copy);
        const filesystem = await openXfs(device);
        expect(filesystem.state).toEqual({ kind: 'clean' });
        const first = new Uint8Array(512);
        await device.read(first, BigInt(start));
        const word = viewOf(first).getUint32(0);
        cycle = word === recordMagic ? viewOf(first).getUint32(4) : word;
        expect([...(await filesystem.freeSpace())]).toEqual([...(await xfsDbFree(copy))]);
        const names: string[] = [];
        for await (const { path: name } of filesystem.walk()) names.push(name.toString());
        const again = await mountLoop(copy, ['nouuid']);
        const found = (await run('find', [again.mountPoint, '-printf', '/%P\\n'])).split('\n');
        await again.unmount();
        expect(names.sort()).toEqual(found.sort());
        expect(await xfsRepair(copy)).toMatch(/^0\n/);
      }
      await stop();
      await unmount();
      expect(await stateOf(path)).toEqual({ kind: 'clean' });
    },
    120_000,
  );

  it('needs recovery in copies of a mounted filesystem whose changes are in the log alone, which are left as they are', async () => {
    const path = await emptyXfs('', '64M');
    const { mountPoint } = await mountLoop(path);
    for (let i = 0; i < 30; i++) await writeFile(join(mountPoint, `${i}`), 'x'.repeat(i * 100));
    await run('sync', ['--file-system', mountPoint]);
    const copy = await snapshot(path);
    expect(await stateOf(copy)).toMatchObject({ kind: 'needs-recovery', replayable: false });
    const before = await readFile(copy);
    const { status, stdout } = await disktool(['sparsify', copy]);
    expect(status).toBe(3);
    expect(stdout).toContain('its log needs recovery: start the guest and shut it down properly, or mount it once');
    expect(before.equals(await readFile(copy))).toBe(true);
    await using device = await openRaw(copy);
    await expect((await openXfs(device)).freeSpace()).rejects.toMatchObject({ code: 'UNSAFE' });
  });

  slow(
    'is called clean at no moment at which xfs_logprint calls it dirty, but for the superblock',
    async () => {
      const path = await emptyXfs('', '64M');
      const { mountPoint } = await mountLoop(path);
      const { stop } = load(mountPoint);
      const seen = new Set<string>();
      for (let i = 0; i < 8; i++) {
        await new Promise((resolve) => setTimeout(resolve, 400));
        if (i % 2 === 0) await run('sync', ['--file-system', mountPoint]);
        const copy = await snapshot(path);
        const { kind } = await stateOf(copy);
        const { stdout, stderr } = await attempt('xfs_logprint', ['-t', copy]);
        const told = `${stdout}${stderr}`;
        seen.add(kind);
        if (kind === 'clean') expect(told).toMatch(/state: <CLEAN>/);
      }
      expect([...seen]).toContain('needs-recovery');
      await stop();
    },
    60_000,
  );

  it('is clean after an unmount, however large the buffers that it was written from', async () => {
    for (const [mkfs, option] of [
      ['', 'logbsize=256k'],
      ['-l su=64k', 'logbsize=256k'],
      ['-l su=256k', 'logbsize=256k'],
    ] as const) {
      const path = await emptyXfs(mkfs, '96M');
      const { mountPoint, unmount } = await mountLoop(path, [option]);
      await writeFile(join(mountPoint, 'file'), 'x');
      await unmount();
      expect(await stateOf(path), mkfs).toEqual({ kind: 'clean' });
    }
  });

  it('is clean after an unmount by a kernel of 32 bits, which takes the checksum of a shorter header', async () => {
    const path = await emptyXfs('', '64M');
    const { mountPoint, unmount } = await mountLoop(path);
    await writeFile(join(mountPoint, 'file'), 'x');
    await unmount();
    const { start } = await logOf(path);
    await using device = await openRaw(path);
    const log = new Log(new XfsVolume(device, await readSuperblock(device)), {});
    const last = await log.recordBefore((await log.head()) ?? 0);
    const { block = 0, payload = new Uint8Array(0) } = last ?? {};
    await change(path, start + block * 512, 512 + payload.length, (bytes) => {
      const checksum = crc32c(bytes.subarray(512), crcWithout(bytes.subarray(0, 324), recordChecksum));
      viewOf(bytes).setUint32(recordChecksum, checksum, true);
    });
    expect(await stateOf(path)).toEqual({ kind: 'clean' });
  });

  plain('needs recovery when its last record is damaged, or what is behind it was written later', async () => {
    const path = await emptyXfs('', '64M');
    const { start } = await logOf(path);
    expect(await stateOf(path)).toEqual({ kind: 'clean' });
    // Of the only operation, behind the header of the record.
    const flagsAt = 512 + 9;
    const other = join(await temporaryFolder(), 'other.img');
    for (const at of [flagsAt, 3 * 512 + 3, 8]) {
      await copyFile(path, other);
      await change(other, start + at, 1, (bytes) => {
        // Without the flag, the operation is any other.
        bytes[0] = at === flagsAt ? 0 : (bytes[0] ?? 0) ^ 1;
      });
      expect(await stateOf(other), `${at}`).toMatchObject({ kind: 'needs-recovery' });
    }
  });
});

describe('a log of XFS that xfsprogs have cleared', () => {
  for (const mkfs of ['', '-l su=64k', '-l su=256k', '-b size=1024']) {
    plain(
      `is clean, and no longer with a block of another round or of junk in it: ${mkfs || 'as by default'}`,
      async () => {
        const path = await emptyXfs(mkfs, '128M');
        await run('xfs_admin', ['-U', 'generate', path]);
        expect((await attempt('xfs_logprint', ['-t', path])).stdout).toMatch(/state: <CLEAN>/);
        expect(await stateOf(path)).toEqual({ kind: 'clean' });
        const { start } = await logOf(path);
        const gap = mkfs === '-l su=256k' ? [] : [300, 511];
        for (const block of [...gap, 512, 700, 4500]) {
          await change(path, start + block * 512, 512, (bytes) => {
            viewOf(bytes).setUint32(500, viewOf(bytes).getUint32(500) ^ 1);
            viewOf(bytes).setUint32(0, 2);
          });
          expect(await stateOf(path), `${block}`).toMatchObject({ kind: 'needs-recovery' });
          await run('xfs_admin', ['-U', 'generate', path]);
        }
      },
    );
  }
});

describe('a log of XFS that is too small', () => {
  plain('is refused by its field', async () => {
    for (const sb_logblocks of [0, 5, 511]) {
      const path = await emptyXfs('', '64M');
      await changeSuperblock(path, { sb_logblocks });
      await expect(stateOf(path)).rejects.toMatchObject({ code: 'CORRUPT', facts: { field: 'sb_logblocks' } });
    }
  });
});

/** Bytes from the start of the image to the log. */
async function logOf(path: string): Promise<{ start: number }> {
  const { sb_logstart, sb_agblklog, sb_agblocks, sb_blocksize } = xfsSuperblock.values(viewOf(await readFile(path)));
  const group = Number(sb_logstart >> BigInt(sb_agblklog));
  const block = Number(sb_logstart & ((1n << BigInt(sb_agblklog)) - 1n));
  return { start: (group * sb_agblocks + block) * sb_blocksize };
}

async function changeSuperblock(path: string, values: Parameters<typeof xfsSuperblock.put>[1]): Promise<void> {
  await change(path, 0, 512, (sector) => {
    xfsSuperblock.put(viewOf(sector), values);
    const { offset } = xfsSuperblock.fields.sb_crc;
    viewOf(sector).setUint32(offset, crcWithout(sector, offset), true);
  });
}

describe('an XFS filesystem is left alone, and says why', () => {
  const changes: Record<string, [Parameters<typeof xfsSuperblock.put>[1], object]> = {
    'with a realtime device': [{ sb_rblocks: 100n }, { kind: 'unsupported', feature: 'realtime device' }],
    'with a log on another device': [{ sb_logstart: 0n }, { kind: 'unsupported', feature: 'external log' }],
    'that was not made to its end': [{ sb_inprogress: 1 }, { kind: 'damaged' }],
    'with a feature that nobody knows': [
      { sb_features_incompat: 0x8000_0000 },
      { kind: 'unsupported', feature: 'bit 31' },
    ],
    'with a tree that nobody knows': [{ sb_features_ro_compat: 0x100 }, { kind: 'unsupported', feature: 'bit 8' }],
    'with directories of metadata': [
      { sb_features_incompat: incompat.mask.METADIR },
      { kind: 'unsupported', feature: 'metadir' },
    ],
    'in need of repair': [
      { sb_features_incompat: incompat.mask.NEEDSREPAIR, sb_features_ro_compat: roCompat.mask.FINOBT },
      { kind: 'damaged' },
    ],
  };
  for (const [name, [values, state]] of Object.entries(changes)) {
    plain(name, async () => {
      const path = await emptyXfs('', '64M');
      await changeSuperblock(path, values);
      expect(await stateOf(path)).toMatchObject(state);
      await using device = await openRaw(path);
      await expect((await openXfs(device)).freeSpace()).rejects.toMatchObject({
        code: expect.stringMatching(/UNSAFE|UNSUPPORTED/),
      });
    });
  }
});
