import { open } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import { findFreeSpace } from '../../src/guest/free-space.js';
import { openGuest } from '../../src/guest/guest.js';
import { sparsify } from '../../src/task/sparsify/sparsify.js';
import { poison } from '../support/ext-image.js';
import { digestOutside } from '../support/guest-disk.js';
import { needs } from '../support/needs.js';
import { change, partitioned } from '../support/partition-image.js';
import { openRaw } from '../support/raw-device.js';
import { run } from '../support/run.js';

const it = needs({ programs: ['sfdisk', 'sgdisk'] });
const mebibyte = 1024 * 1024;

async function gaps(path: string, ignore: readonly string[] = []) {
  await using device = await openRaw(path);
  const guest = await openGuest(device);
  const { volumes, free } = await findFreeSpace(guest, { unpartitioned: true, ignore });
  const found = volumes.find(({ type }) => type === 'unpartitioned');
  expect(found?.free.total).toBe(free.total);
  return { free, reason: found?.leftAlone?.reason };
}

/** In MiB, as far as they are whole. */
const inMebibytes = (ranges: Iterable<{ offset: bigint; length: bigint }>) =>
  [...ranges].map(({ offset, length }) => [Number(offset) / mebibyte, Number(length) / mebibyte]);

const gpt = 'label: gpt\nstart=4MiB, size=8MiB\nstart=16MiB, size=8MiB\nstart=40MiB, size=4MiB\n';
/** Logical drives at 12 and 24 MiB, whose boot records sfdisk puts 1 MiB before each. */
const logicals = [
  'label: dos',
  'start=2MiB, size=4MiB',
  'start=11MiB, size=39MiB, type=5',
  'start=12MiB, size=8MiB',
  'start=24MiB, size=8MiB',
].join('\n');

describe('what lies in no partition', () => {
  it('is data unless it is asked for', async () => {
    await using device = await openRaw(await partitioned(gpt));
    expect((await findFreeSpace(await openGuest(device))).free.count).toBe(0);
  });

  it('of a GPT is what lies between partitions and behind the last, but for the last MiB', async () => {
    const { free, reason } = await gaps(await partitioned(gpt));
    expect(reason).toBeUndefined();
    expect(inMebibytes(free)).toEqual([
      [12, 4],
      [24, 16],
      [44, 19],
    ]);
  });

  it('is the same of a table that sgdisk has made, in any order of its partitions', async () => {
    const path = await partitioned();
    await run('sgdisk', ['-n', '2:16M:+8M', '-n', '1:40M:+4M', '-n', '3:4M:+8M', path]);
    const { free } = await gaps(path);
    expect(inMebibytes(free)).toEqual([
      [12, 4],
      [24, 16],
      [44, 19],
    ]);
  });

  it('has nothing between the boot record of a logical drive and the drive', async () => {
    const { free } = await gaps(await partitioned(logicals));
    expect(inMebibytes(free)).toEqual([
      [6, 5],
      [20, 3],
      [32, 31],
    ]);
  });

  it('has at most a MiB less behind a boot record whose drive begins far away', async () => {
    const script = 'label: dos\nstart=2MiB, size=4MiB\nstart=11MiB, size=39MiB, type=5\nstart=16MiB, size=8MiB\n';
    const path = await partitioned(script);
    // sfdisk has the boot record at the start of the extended partition.
    expect(inMebibytes((await gaps(path)).free)).toEqual([
      [6, 5],
      [12, 4],
      [24, 39],
    ]);
  });

  it('has nothing of an extended partition whose first boot record is lost', async () => {
    const path = await partitioned(logicals);
    await change(path, 11 * mebibyte, 512, (record) => record.fill(0));
    expect(inMebibytes((await gaps(path)).free)).toEqual([
      [6, 5],
      [50, 13],
    ]);
  });

  it('can be filled with junk: the table and all partitions stay as they were', async () => {
    for (const script of [gpt, logicals]) {
      const path = await partitioned(script);
      const { free } = await gaps(path);
      const [before, dump] = [await digestOutside(path, free), await run('sfdisk', ['-d', path])];
      await poison(path, free);
      expect(await digestOutside(path, free)).toBe(before);
      expect(await run('sfdisk', ['-d', path])).toBe(dump);
      expect(await run('sfdisk', ['--verify', path])).toContain('No errors detected');
    }
  });

  it('stays where it lies in an extended partition that is to be ignored', async () => {
    const { free } = await gaps(await partitioned(logicals), ['/dev/sda2']);
    expect(inMebibytes(free)).toEqual([
      [6, 5],
      [50, 13],
    ]);
  });
});

describe('nothing of it is free', () => {
  const refusals: Record<string, { script?: string; spoil?: (path: string) => Promise<unknown>; why: RegExp }> = {
    'without partitions': { script: 'label: dos\n', why: /no partition/ },
    'beside a hybrid MBR': {
      script: gpt,
      spoil: (path) => run('sgdisk', ['--hybrid', '1', path]),
      why: /hybrid/,
    },
    'when a copy of the GPT is damaged': {
      script: gpt,
      spoil: (path) =>
        change(path, 64 * mebibyte - 512, 512, (header) => {
          header[40] = 1;
        }),
      why: /doubtful: the backup GPT is damaged/,
    },
    'when partitions overlap': {
      script: 'label: dos\nstart=2MiB, size=4MiB\nstart=8MiB, size=4MiB\n',
      spoil: (path) =>
        change(path, 446 + 8, 8, (entry) => {
          entry[5] = 0x40;
        }),
      why: /overlap/,
    },
    'on a dynamic disk': { script: 'label: dos\nstart=2MiB, size=4MiB, type=42\n', why: /LDM/ },
    'beside a disklabel of OpenBSD': { script: 'label: dos\nstart=2MiB, size=4MiB, type=a6\n', why: /OpenBSD/ },
    'of an ISO image with a table': {
      script: 'label: dos\nstart=2MiB, size=4MiB, type=ef\n',
      spoil: (path) => change(path, 32768, 7, (descriptor) => descriptor.set(Buffer.from('\x01CD001\x01'))),
      why: /iso9660/,
    },
    'of an ISO image whose descriptor lies in a partition': {
      script: 'label: dos\nstart=64, size=4MiB, type=cd\n',
      spoil: (path) => change(path, 32768, 7, (descriptor) => descriptor.set(Buffer.from('\x01CD001\x01'))),
      why: /iso9660/,
    },
    'when the disk as a whole is something else too': {
      script: 'label: dos\nstart=2MiB, size=4MiB\n',
      spoil: async (path) => {
        await using file = await open(path, 'r+');
        await file.write(Buffer.from('Intel Raid ISM Cfg Sig. 1.0.00'), 0, 30, 64 * mebibyte - 1024);
      },
      why: /isw_raid_member/,
    },
  };
  for (const [when, { script, spoil, why }] of Object.entries(refusals)) {
    it(when, async () => {
      const path = await partitioned(script);
      await spoil?.(path);
      const { free, reason } = await gaps(path);
      expect(free.count).toBe(0);
      expect(reason).toMatch(why);
    });
  }
});

it('is given back by sparsify when it is asked for, and only then', async () => {
  const path = await partitioned(gpt);
  await poison(path, [{ offset: BigInt(mebibyte), length: BigInt(62 * mebibyte) }]);
  const rows = async (unpartitioned: boolean) => (await sparsify(path, { unpartitioned, scan: false }, {})).volumes;
  expect((await rows(false)).map(({ reclaimable }) => reclaimable)).toEqual([0n, 0n, 0n]);
  const [, , , gap] = await rows(true);
  expect(gap).toMatchObject({ device: '/dev/sda', type: 'unpartitioned', reclaimable: BigInt(39 * mebibyte) });
});
