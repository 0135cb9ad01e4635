import { join } from 'node:path';
import { expect } from 'vitest';
import { mounted, safetyNet } from '../../support/mounted.js';
import { needs } from '../../support/needs.js';
import { attempt, disktool, run } from '../../support/run.js';
import { mountLoop, temporaryFolder } from '../../support/temporary.js';
import { writeUnceasingly } from '../../support/writer.js';

const base = ['fsfreeze', 'mount', 'python3'] as const;
const ext4 = needs({ programs: [...base, 'mke2fs', 'dumpe2fs', 'e2fsck'], root: true });
const xfs = needs({ programs: [...base, 'mkfs.xfs', 'xfs_repair'], root: true, slow: true });
const btrfs = needs({ programs: [...base, 'mkfs.btrfs', 'btrfs'], root: true, slow: true });

/** An image that was written to all the while, copied in three ways: two while it was frozen, one while it was not. */
interface Copies {
  /** By a command under freeze. */
  readonly frozen: string;
  /** Checksums of every file at that moment. */
  readonly checksums: string;
  /** By snapshot. */
  readonly snapshot: string;
  readonly unfrozen: string;
}

async function copyUnderLoad(type: 'ext4' | 'xfs' | 'btrfs'): Promise<Copies> {
  const { image, mountPoint, unmount } = await mounted(type);
  safetyNet(mountPoint, 90);
  const folder = await temporaryFolder();
  const at = (name: string) => join(folder, name);
  const copies = {
    frozen: at('frozen'),
    checksums: at('checksums'),
    snapshot: at('snapshot'),
    unfrozen: at('unfrozen'),
  };
  const writer = await writeUnceasingly(mountPoint);
  const script = 'cd "$0" && find . -type f -exec sha256sum {} + > "$1" && cp --sparse=always "$2" "$3"';
  const command = ['sh', '-c', script, mountPoint, copies.checksums, image, copies.frozen];
  expect(await disktool(['freeze', mountPoint, '--', ...command])).toMatchObject({ status: 0 });
  const taken = await disktool(['snapshot', image, copies.snapshot, '--freeze', mountPoint, '--json']);
  expect(taken).toMatchObject({ status: 0, stderr: expect.not.stringContaining('warning') });
  expect(JSON.parse(taken.stdout)).toMatchObject({ format: 'raw', frozen: [mountPoint] });
  await run('cp', ['--sparse=always', image, copies.unfrozen]);
  await writer.end();
  // Two filesystems of one UUID are one to the kernel.
  await unmount();
  return copies;
}

/** Every file of the mounted copy is what it was, and there are no others. */
async function compareFiles(copy: string, checksums: string, options: readonly string[]): Promise<void> {
  const { mountPoint, unmount } = await mountLoop(copy, options);
  await run('sha256sum', ['--quiet', '--check', checksums], { cwd: mountPoint });
  const files = await run('find', ['.', '-type', 'f'], { cwd: mountPoint });
  const listed = await run('wc', ['-l', checksums]);
  expect(files.split('\n').length).toBe(Number.parseInt(listed, 10));
  await unmount();
}

ext4(
  'ext4 copied while frozen under load needs no recovery, and its files are equal; copied as it is it does',
  async () => {
    const { frozen, snapshot, unfrozen, checksums } = await copyUnderLoad('ext4');
    const features = (image: string) => run('dumpe2fs', ['-h', image]);
    expect(await features(unfrozen)).toContain('needs_recovery');
    for (const copy of [frozen, snapshot]) {
      expect(await features(copy)).not.toContain('needs_recovery');
      expect(await attempt('e2fsck', ['-fn', copy])).toMatchObject({ status: 0 });
    }
    await compareFiles(frozen, checksums, ['ro', 'noload']);
  },
  120_000,
);

xfs(
  'XFS copied while frozen under load is clean once it was mounted, and its files are equal',
  async () => {
    const { frozen, snapshot, checksums } = await copyUnderLoad('xfs');
    await compareFiles(frozen, checksums, []);
    await (await mountLoop(snapshot)).unmount();
    for (const copy of [frozen, snapshot])
      expect(await attempt('xfs_repair', ['-n', copy])).toMatchObject({ status: 0 });
  },
  120_000,
);

btrfs(
  'btrfs copied while frozen under load has no log tree and is clean, and its files are equal',
  async () => {
    const { frozen, snapshot, checksums } = await copyUnderLoad('btrfs');
    for (const copy of [frozen, snapshot]) {
      expect(await run('btrfs', ['inspect-internal', 'dump-super', copy])).toMatch(/^log_root\s+0$/m);
      expect(await attempt('btrfs', ['check', copy])).toMatchObject({ status: 0 });
    }
    await compareFiles(frozen, checksums, ['ro']);
  },
  120_000,
);
