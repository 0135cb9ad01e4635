import { open } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import { listFilesystems } from '../../src/task/list-filesystems.js';
import { guestImage, guestUuids } from '../support/guest-image.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';

const it = needs({ programs: ['sfdisk', 'mke2fs', 'mkswap', 'dumpe2fs'] });
const mebibyte = 1 << 20;

async function patch(path: string, offset: number, bytes: Uint8Array | string): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(Buffer.from(bytes), 0, undefined, offset);
}

describe('listFilesystems', () => {
  it('lists a filesystem beside its partition, with what dumpe2fs says is free', async () => {
    const image = await guestImage('dos');
    await run('sfdisk', ['-q', '-N1', image], { stdin: 'pipe', input: ',33MiB\n' });
    const { entries } = await listFilesystems({ image });
    const facts = await run('dumpe2fs', ['-h', `${image}?offset=${mebibyte}`]);
    const fact = (name: string) => BigInt(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(facts)?.[1] ?? '-1');
    const free = fact('Free blocks') * fact('Block size');
    expect(entries).toHaveLength(1);
    expect(entries[0]).toMatchObject({
      name: '/dev/sda1',
      type: 'filesystem',
      vfs: 'ext4',
      label: 'root',
      uuid: guestUuids.root,
      mbr: 0x83,
      size: 33n << 20n,
      filesystemSize: 32n << 20n,
      free,
      state: 'clean',
      parent: '/dev/sda',
    });
  });

  it('lists swap, unknown partitions, the partitions and the disk only when asked for all', async () => {
    const image = await guestImage('gpt');
    const { entries, table, size } = await listFilesystems({ image, all: true });
    expect(entries.map(({ name, type, vfs }) => [name, type, vfs])).toEqual([
      ['/dev/sda1', 'filesystem', 'ext4'],
      ['/dev/sda2', 'swap', 'swap'],
      ['/dev/sda3', 'other', 'unknown'],
      ['/dev/sda1', 'partition', ''],
      ['/dev/sda2', 'partition', ''],
      ['/dev/sda3', 'partition', ''],
      ['/dev/sda', 'device', ''],
    ]);
    expect(size).toBe(64n << 20n);
    expect(table).toMatchObject({ kind: 'gpt', sectorSize: 512 });
    expect(entries[3]?.partition).toMatchObject({ number: 1, name: 'the root', offset: 1n << 20n });
    expect(entries[3]?.mbr).toBeUndefined();
  });

  it('lists what is damaged, ambiguous or asleep by its state, and fails for none of them', async () => {
    const image = await guestImage();
    await patch(image, 34 * mebibyte + 4086, 'S2SUSPEND\0');
    await patch(image, 44 * mebibyte, 'XFSB');
    await patch(image, 44 * mebibyte + 65536 + 64, '_BHRfS_M');
    const asleep = await listFilesystems({ image, all: true });
    expect(asleep.entries.slice(0, 3).map(({ state }) => state)).toEqual(['hibernated', 'hibernated', 'ambiguous']);
    await patch(image, mebibyte + 1024 + 0x18, Uint8Array.of(40, 0, 0, 0));
    const damaged = await listFilesystems({ image });
    expect(damaged.entries[0]).toMatchObject({ name: '/dev/sda1', state: 'damaged' });
    expect(damaged.entries[0]?.reason).toContain('s_checksum');
  });

  it('warns of what is odd about the disk', async () => {
    const image = await guestImage('dos');
    await patch(image, 64 * mebibyte - 1024, 'Intel Raid ISM Cfg Sig. 1.0.00');
    const warnings: string[] = [];
    const listing = await listFilesystems({ image }, { onWarning: (message) => warnings.push(message) });
    expect(listing.entries[0]?.problem).toContain('isw_raid_member');
    expect(warnings.join()).toContain('isw_raid_member');
  });
});
