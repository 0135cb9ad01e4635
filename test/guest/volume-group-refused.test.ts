import { open, readFile, writeFile } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import { viewOf } from '../../src/binary/layout.js';
import { RangeSet } from '../../src/binary/range-set.js';
import { findFreeSpace } from '../../src/guest/free-space.js';
import { openGuest } from '../../src/guest/guest.js';
import { mdaHeader, rawLocation } from '../../src/volume/lvm/on-disk.js';
import { type LvmDisk, lvmDisk, lvmNeeds, writeLogical } from '../support/lvm-image.js';
import { editText, headSize, metadataArea, sealArea } from '../support/lvm-patch.js';
import { needs } from '../support/needs.js';
import { change } from '../support/partition-image.js';
import { openRaw } from '../support/raw-device.js';
import { run } from '../support/run.js';

const it = needs({ ...lvmNeeds, programs: [...lvmNeeds.programs, 'mkswap'] });
const mebibyte = 1024 * 1024;

/** A group of two physical volumes, with room for a filesystem on the first. */
function twoVolumes(commands: readonly string[] = [], filled: readonly string[] = []): Promise<LvmDisk> {
  return lvmDisk({
    partitions: [
      [1, 30],
      [32, 30],
    ],
    commands: ['pvcreate -y $1 $2', 'vgcreate -y vg $1 $2', 'lvcreate -n fs -L 8M vg $1', ...commands],
    filled,
  });
}

async function read(image: string) {
  await using device = await openRaw(image);
  const guest = await openGuest(device);
  return { guest, freeSpace: await findFreeSpace(guest) };
}

/** Nothing is free, and each volume that can be read says why. */
async function expectRefused(image: string, why: RegExp): Promise<void> {
  const { freeSpace } = await read(image);
  expect(freeSpace.free).toBe(RangeSet.empty);
  for (const { name, volume, leftAlone } of freeSpace.volumes) {
    if (volume === undefined) continue;
    expect(leftAlone, name).toMatchObject({ kind: 'refused', reason: expect.stringMatching(why) });
  }
}

const edits: Record<string, { edit: (text: string) => string; why: RegExp }> = {
  'is in the middle of a pvmove': {
    edit: (text) => text.replace('"READ", "WRITE", "VISIBLE"', '"READ", "WRITE", "VISIBLE", "PVMOVE"'),
    why: /pvmove/,
  },
  'is clustered': { edit: (text) => text.replace('["RESIZEABLE"', '["RESIZEABLE", "CLUSTERED"'), why: /share/ },
  'is locked by sanlock': {
    edit: (text) => text.replace('max_lv', 'lock_type = "sanlock"\nmax_lv'),
    why: /share it \(sanlock\)/,
  },
  'has a status that nobody knows': { edit: (text) => text.replace('"RESIZEABLE"', '"RESHAPED"'), why: /"RESHAPED"/ },
  'has a segment of a type that nobody knows': {
    edit: (text) => text.replace('type = "striped"', 'type = "woven"'),
    why: /fs has a segment of the type "woven"/,
  },
  'missed a physical volume': {
    edit: (text) =>
      text.replace('status = ["ALLOCATABLE"]\nflags = []', 'status = ["ALLOCATABLE"]\nflags = ["MISSING"]'),
    why: /was missing/,
  },
  'has a volume past the end of its extents': {
    edit: (text) => text.replace(/("pv0", )0/, '$16'),
    why: /stripes|extents 6 to 7 of pv0/,
  },
  'has two volumes on one extent': {
    edit: (text) =>
      text.replace(
        /(fs \{[\s\S]*?\n\}\n\})/,
        (volume) => `${volume}\n${volume.replace('fs {', 'other {').replace('"pv0", 0', '"pv0", 1')}`,
      ),
    why: /in several volumes at once/,
  },
  'has its extents begin elsewhere than its header': {
    edit: (text) => text.replace('pe_start = 2048', 'pe_start = 4096'),
    why: /extents begin at byte 1048576, and the metadata at 2097152|cut short/,
  },
  'has extents on its own metadata': {
    edit: (text) => text.replace('pe_start = 2048', 'pe_start = 1024'),
    why: /extents/,
  },
  'has a physical volume larger than its device': {
    edit: (text) => text.replace('dev_size = 61440', 'dev_size = 61448'),
    why: /cut short/,
  },
};

describe('nothing is free in a volume group that', () => {
  for (const [what, { edit, why }] of Object.entries(edits)) {
    it(what, async () => {
      const disk = await twoVolumes([], ['fs']);
      for (const start of disk.starts) {
        await editText(disk.image, start, (text) => {
          const changed = edit(text);
          expect(changed).not.toBe(text);
          return changed;
        });
      }
      await expectRefused(disk.image, why);
    });
  }

  it('has more volumes than are looked into, one of which may hold a hibernation image', async () => {
    const disk = await lvmDisk({
      partitions: [[1, 30]],
      commands: ['pvcreate -y $1', 'vgcreate -y -s 4k vg $1', 'lvcreate -n fs -l 1 vg'],
    });
    for (const start of disk.starts) {
      await editText(disk.image, start, (text) =>
        text.replace(/fs \{[\s\S]*?\n\}\n\}/, (volume) =>
          Array.from({ length: 1025 }, (_, i) =>
            volume
              .replace('fs {', `fs${i} {`)
              .replace(/id = "....../, `id = "${String(i).padStart(6, '0')}`)
              .replace('"pv0", 0', `"pv0", ${i}`),
          ).join('\n'),
        ),
      );
    }
    await expectRefused(disk.image, /1025 logical volumes/);
    const { guest } = await read(disk.image);
    expect(guest.left).toHaveLength(1025);
    expect(guest.volumes).toHaveLength(1);
    expect(guest.hibernated).toMatch(/^it may be: /);
  });

  it('was exported', async () => {
    const disk = await twoVolumes(['vgexport vg']);
    await expectRefused(disk.image, /exported/);
  });

  it('is not there as a whole', async () => {
    const disk = await twoVolumes([], ['fs']);
    await run('sfdisk', ['-q', '--delete', disk.image, '2']);
    await expectRefused(disk.image, /is not on this disk/);
    const { guest } = await read(disk.image);
    // What is there can be read.
    expect(guest.volumes[1]).toMatchObject({ name: '/dev/vg/fs', content: { kind: 'filesystem' } });
  });

  it('has two physical volumes of one UUID', async () => {
    const disk = await twoVolumes();
    const copy = ['bs=1M', `skip=${1}`, `seek=${32}`, 'count=30', 'conv=notrunc', 'status=none'];
    await run('dd', [`if=${disk.image}`, `of=${disk.image}`, ...copy]);
    await expectRefused(disk.image, /of two physical volumes/);
  });

  it('has a physical volume without metadata that another one has too', async () => {
    const partitions = [1, 22, 43].map((start) => [start, 20] as const);
    const disk = await lvmDisk({
      partitions,
      commands: [
        'pvcreate -y $1 $3',
        'pvcreate -y --metadatacopies 0 $2',
        'vgcreate -y vg1 $1 $2',
        'vgcreate -y vg2 $3',
        'lvcreate -n one -L 8M vg1 $2',
      ],
    });
    const [first = 0, , third = 0] = disk.starts;
    let both = '';
    await editText(disk.image, first, (text) => {
      [, both = ''] = /physical_volumes \{\n([\s\S]*?\n\}\n\n[\s\S]*?\n\})\n\}/.exec(text) ?? [];
      return text;
    });
    expect(both).toContain('pv1');
    const shared = both.slice(both.indexOf('pv1'));
    await editText(disk.image, third, (text) => text.replace('physical_volumes {', (head) => `${head}\n${shared}\n`));
    await expectRefused(disk.image, /has one of its physical volumes too/);
  });

  it('has a name that another one has', async () => {
    const disk = await lvmDisk({
      partitions: [
        [1, 30],
        [32, 30],
      ],
      commands: ['pvcreate -y $1 $2', 'vgcreate -y vg1 $1', 'vgcreate -y vg2 $2', 'lvcreate -n fs -L 8M vg1'],
    });
    await editText(disk.image, disk.starts[1] ?? 0, (text) => text.replace(/^vg2 \{/m, 'vg1 {'));
    await expectRefused(disk.image, /another volume group has the same name/);
  });

  it('has metadata areas that disagree', async () => {
    const disk = await twoVolumes();
    await editText(disk.image, disk.starts[0] ?? 0, (text) => text.replace(/seqno = \d+/, 'seqno = 1'));
    await expectRefused(disk.image, /copies of its metadata are older/);
    const { guest } = await read(disk.image);
    expect(guest.volumes.map(({ name }) => name)).toContain('/dev/vg/fs');
  });

  it('has metadata areas that disagree under one number', async () => {
    const disk = await twoVolumes();
    await editText(disk.image, disk.starts[0] ?? 0, (text) => text.replace('fs {', 'sf {'));
    await expectRefused(disk.image, /under the same number/);
  });

  it('has a change that was written and not ended', async () => {
    const disk = await twoVolumes();
    await change(disk.image, disk.starts[0] ?? 0, headSize, (head) => {
      const area = metadataArea(head);
      const second = area + mdaHeader.fields.raw_locns.offset + rawLocation.size;
      rawLocation.put(viewOf(head), { offset: 8192n, size: 100n, checksum: 1 }, second);
      sealArea(head, area);
    });
    await expectRefused(disk.image, /was not ended/);
  });

  it('is of a guest that is hibernated, to a logical volume', async () => {
    const disk = await twoVolumes(['lvcreate -n swap -L 4M vg $2'], ['fs']);
    const swap = `${disk.image}.swap`;
    await writeFile(swap, Buffer.alloc(4 * mebibyte), { mode: 0o600 });
    await run('mkswap', ['-q', swap]);
    await writeLogical(disk, 'swap', await readFile(swap));
    const { freeSpace } = await read(disk.image);
    const found = freeSpace.volumes.find(({ name }) => name === '/dev/vg/swap');
    expect([found?.type, found?.free.total]).toEqual(['swap', BigInt(4 * mebibyte - 4096)]);
    const bytes = await readFile(swap);
    bytes.write('S1SUSPEND\0', 4086);
    await writeLogical(disk, 'swap', bytes);
    await expectRefused(disk.image, /hibernat/);
  });

  it('has a copy of its metadata that is damaged', async () => {
    const disk = await twoVolumes();
    await change(disk.image, disk.starts[0] ?? 0, headSize, (head) => {
      const at = metadataArea(head) + 100;
      head[at] = (head[at] ?? 0) ^ 1;
    });
    await expectRefused(disk.image, /a copy of its metadata cannot be read: .*checksum/);
  });
});

describe('a physical volume', () => {
  it('of no volume group is left alone', async () => {
    const disk = await lvmDisk({ partitions: [[1, 60]], commands: ['pvcreate -y $1'] });
    const { freeSpace } = await read(disk.image);
    expect(freeSpace.free).toBe(RangeSet.empty);
    expect(freeSpace.volumes[0]?.leftAlone).toMatchObject({
      kind: 'unsupported',
      reason: expect.stringMatching(/no volume group/),
    });
  });

  it('whose label is damaged is refused', async () => {
    const disk = await lvmDisk({ partitions: [[1, 60]], commands: ['pvcreate -y $1', 'vgcreate -y vg $1'] });
    await change(disk.image, mebibyte + 512, 512, (sector) => {
      sector[200] = 1;
    });
    await expectRefused(disk.image, /crc_xl/);
  });

  it('in a logical volume, and a partition table in one, are not taken apart', async () => {
    const disk = await lvmDisk({
      partitions: [[1, 60]],
      commands: ['pvcreate -y $1', 'vgcreate -y vg $1', 'lvcreate -n inner -L 8M vg', 'lvcreate -n guest -L 8M vg'],
    });
    const table = `${disk.image}.table`;
    await run('truncate', ['-s', '8M', table]);
    await run('sfdisk', ['-q', table], { stdin: 'pipe', input: 'label: dos\nstart=2048, size=4096\n' });
    await using from = await open(table, 'r');
    await using file = await open(disk.image, 'r+');
    const head = Buffer.alloc(8 * mebibyte);
    await file.read(head, 0, head.length, mebibyte);
    // The first extent is at 1 MiB of the physical volume, and that at 1 MiB of the disk.
    await file.write(head.subarray(0, mebibyte), 0, mebibyte, 2 * mebibyte);
    await from.read(head, 0, head.length, 0);
    await file.write(head, 0, head.length, 10 * mebibyte);
    const { freeSpace } = await read(disk.image);
    const reasons = freeSpace.volumes.map(({ name, leftAlone }) => [name, leftAlone?.reason]);
    expect(reasons).toContainEqual(['/dev/vg/inner', expect.stringMatching(/a disk of its own \(LVM2_member\)/)]);
    expect(reasons).toContainEqual(['/dev/vg/guest', expect.stringMatching(/a disk of its own \(dos\)/)]);
    expect(freeSpace.volumes[0]?.free.total).toBe(BigInt((14 - 4) * 4 * mebibyte));
  });
});
