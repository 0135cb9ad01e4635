import { expect } from 'vitest';
import { viewOf } from '../../../src/binary/layout.js';
import { crcWithout } from '../../../src/filesystem/xfs/checksum.js';
import { inodeCore, inodeCoreV3 } from '../../../src/filesystem/xfs/file-on-disk.js';
import { openXfs } from '../../../src/filesystem/xfs/xfs.js';
import { needs } from '../../support/needs.js';
import { change } from '../../support/partition-image.js';
import { openRaw } from '../../support/raw-device.js';
import { emptyXfs } from '../../support/xfs-image.js';

needs({ programs: ['mkfs.xfs'] })(
  'a directory that says it has more blocks than there are is refused, also where files may share blocks',
  async () => {
    const path = await emptyXfs('-m reflink=1 -b size=4096', '64M');
    let root = { offset: 0n, length: 0n };
    {
      await using device = await openRaw(path);
      const { record } = await (await openXfs(device)).open('/');
      if (record !== undefined) root = record;
    }
    const count = 4000n;
    await change(path, Number(root.offset), Number(root.length), (inode) => {
      const view = viewOf(inode);
      inodeCore.put(view, { di_format: 2, di_nextents: 6, di_big_nextents: 6n, di_size: 4096n });
      for (let i = 0n; i < 6n; i++) {
        const record = ((i * count) << 73n) | (64n << 21n) | count;
        const at = inodeCoreV3.size + Number(i) * 16;
        view.setBigUint64(at, record >> 64n);
        view.setBigUint64(at + 8, BigInt.asUintN(64, record));
      }
      const { offset } = inodeCoreV3.fields.di_crc;
      view.setUint32(offset, crcWithout(inode, offset), true);
    });
    await using device = await openRaw(path);
    const map = (await (await openXfs(device)).open('/')).fileMap();
    const read = async () => {
      for await (const _ of map);
    };
    await expect(read()).rejects.toMatchObject({ code: 'CORRUPT', facts: { field: 'its blocks' } });
  },
);
