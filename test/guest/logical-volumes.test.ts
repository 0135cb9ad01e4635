import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { RangeSet } from '../../src/binary/range-set.js';
import { findVolume } from '../../src/guest/find-volume.js';
import { findFreeSpace } from '../../src/guest/free-space.js';
import { openGuest } from '../../src/guest/guest.js';
import { sparsify } from '../../src/task/sparsify/sparsify.js';
import { contentsOf, dumpe2fs, poison } from '../support/ext-image.js';
import { digestOutside } from '../support/guest-disk.js';
import { fillLogical, type LvmDisk, lvmDisk, lvmNeeds, readLogical, report } from '../support/lvm-image.js';
import { leftAloneVolumes, lvmVariants, quickLayouts } from '../support/lvm-variants.js';
import { needs } from '../support/needs.js';
import { openRaw } from '../support/raw-device.js';
import { attempt } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const fully = { ...lvmNeeds, programs: [...lvmNeeds.programs, 'dumpe2fs', 'e2fsck'] } as const;
const it = needs(fully);

/** A file of the bytes of a logical volume, as lvs says that they lie. */
async function extract(disk: LvmDisk, name: string): Promise<string> {
  const path = join(await temporaryFolder(), 'volume.img');
  await writeFile(path, await readLogical(disk, name));
  return path;
}

async function read(image: string) {
  await using device = await openRaw(image);
  const guest = await openGuest(device);
  const freeSpace = await findFreeSpace(guest);
  const volumes = [];
  for (const { name, logical, device, problem, leftAlone } of guest.volumes) {
    if (logical === undefined) continue;
    const bytes = Buffer.alloc(Number(device.facts.size));
    await device.read(bytes, 0n);
    volumes.push({ name, logical, bytes, problem, leftAlone });
  }
  return { guest, freeSpace, volumes };
}

describe('a volume group is what LVM2 says that it is', () => {
  for (const [layout, recipe] of Object.entries(lvmVariants)) {
    needs({ ...fully, slow: !quickLayouts.includes(layout) })(
      layout,
      async () => {
        const disk = await lvmDisk(recipe);
        const theirs = await report(disk, 'lvs', 'lv_name,lv_size,lv_uuid,lv_path,lv_dm_path');
        const names = theirs.map((lv) => lv.lv_name ?? '');
        for (const name of names) await fillLogical(disk, name, name.slice(0, 16));
        const { guest, freeSpace, volumes } = await read(disk.image);

        expect(guest.groups).toMatchObject([{ name: 'vg', problem: undefined }]);
        expect(guest.left).toEqual([]);
        expect(guest.warnings).toEqual([]);
        const ours = volumes.map(({ logical, bytes }) => [logical.name, `${bytes.length}`, logical.uuid]);
        expect(ours.sort()).toEqual(theirs.map((lv) => [lv.lv_name, lv.lv_size, lv.lv_uuid]).sort());
        for (const { name, logical, bytes } of volumes) {
          expect(bytes.equals(await readLogical(disk, logical.name)), name).toBe(true);
          const { lv_path = '', lv_dm_path = '' } = theirs.find((lv) => lv.lv_name === logical.name) ?? {};
          expect(name).toBe(lv_path);
          for (const other of [name, name.slice('/dev/'.length), lv_dm_path, `LABEL=${logical.name.slice(0, 16)}`]) {
            expect(findVolume(guest, other).name).toBe(name);
          }
        }
        const pvs = await report(disk, 'pvs', 'pv_uuid,pv_free,pv_used');
        const free = guest.volumes.flatMap(({ name, content }) =>
          content.kind === 'physical-volume'
            ? [[content.uuid, `${freeSpace.volumes.find((volume) => volume.name === name)?.free.total}`]]
            : [],
        );
        expect(free.sort()).toEqual(pvs.map((pv) => [pv.pv_uuid, pv.pv_free]).sort());

        const dumps = new Map<string, string>();
        for (const name of names) {
          const path = await extract(disk, name);
          const dump = await dumpe2fs(path);
          const found = freeSpace.volumes.find((volume) => volume.volume?.logical?.name === name);
          expect(found?.free.total).toBe(dump.free.total);
          expect(found?.leftAlone).toBeUndefined();
          dumps.set(name, JSON.stringify(await contentsOf(path)));
        }
        const before = await digestOutside(disk.image, freeSpace.free);
        // No columns: their width would be that of the loop devices' names, of which each command has others.
        const lvs = await disk.lvm('lvs -a --segments --separator , -o+devices');
        await poison(disk.image, freeSpace.free);
        await checkAll();
        const { volumes: rows } = await sparsify(disk.image, {}, {});
        expect(rows.map(({ leftAlone }) => leftAlone)).toEqual(rows.map(() => undefined));
        expect(rows.reduce((sum, row) => sum + row.reclaimable, 0n)).toBeGreaterThan(4n << 20n);
        await checkAll();

        async function checkAll(): Promise<void> {
          expect(await digestOutside(disk.image, freeSpace.free)).toBe(before);
          expect(await disk.lvm('lvs -a --segments --separator , -o+devices')).toBe(lvs);
          await disk.lvm('vgck vg');
          for (const name of names) {
            const path = await extract(disk, name);
            expect(await attempt('e2fsck', ['-fn', path])).toMatchObject({ status: 0 });
            expect(JSON.stringify(await contentsOf(path))).toBe(dumps.get(name));
          }
        }
      },
      60_000,
    );
  }
});

describe('what only its own driver can map is named, and left alone', () => {
  for (const [what, { volumes, left, kept = {} }] of Object.entries(leftAloneVolumes)) {
    it(what, async () => {
      const disk = await lvmDisk({
        partitions: [[1, 60]],
        commands: ['pvcreate -y $1', 'vgcreate -y vg $1', 'lvcreate -n fs -L 8M vg'],
        volumes,
      });
      await fillLogical(disk, 'fs', 'plain');
      const { guest, freeSpace, volumes: readable } = await read(disk.image);
      const reasons = new Map(freeSpace.volumes.map(({ name, leftAlone }) => [name, leftAlone]));
      for (const [name, reason] of Object.entries(left)) {
        expect(reasons.get(`/dev/vg/${name}`)).toMatchObject({
          kind: 'unsupported',
          reason: expect.stringMatching(reason),
        });
        const find = () => findVolume(guest, `vg/${name}`);
        expect(find).toThrow(expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringMatching(reason) }));
      }
      for (const [name, reason] of Object.entries(kept)) {
        const found = freeSpace.volumes.find((volume) => volume.name === `/dev/vg/${name}`);
        expect(found?.free).toBe(RangeSet.empty);
        expect(found?.leftAlone).toMatchObject({ kind: 'unsupported', reason: expect.stringMatching(reason) });
        const bytes = readable.find(({ logical }) => logical.name === name)?.bytes;
        expect(bytes?.equals(await readLogical(disk, name))).toBe(true);
        await expect(findFreeSpace(guest, { wipe: [`vg/${name}`] })).rejects.toMatchObject({ code: 'UNSAFE' });
      }
      expect(reasons.get('/dev/vg/fs')).toBeUndefined();
      const pvs = await report(disk, 'pvs', 'pv_free');
      expect(`${freeSpace.volumes[0]?.free.total}`).toBe(pvs[0]?.pv_free);
      const names = (await report(disk, 'lvs -a', 'lv_name,lv_size')).map((lv) => [
        lv.lv_name?.replace(/[[\]]/g, ''),
        lv.lv_size,
      ]);
      const ours = freeSpace.volumes.flatMap(({ name, size }) =>
        name.startsWith('/dev/vg/') ? [[name.slice('/dev/vg/'.length), `${size}`]] : [],
      );
      expect(ours.sort()).toEqual(names.sort());
    }, 30_000);
  }
});
