import { join } from 'node:path';
import { expect } from 'vitest';
import { viewOf } from '../../../src/binary/layout.js';
import { crcWithout } from '../../../src/filesystem/xfs/checksum.js';
import {
  attributeBlock,
  attributeBlockV5,
  attributeEntry,
  attributeLeaf,
  attributeMagics,
} from '../../../src/filesystem/xfs/file-on-disk.js';
import { openXfs } from '../../../src/filesystem/xfs/xfs.js';
import { needs } from '../../support/needs.js';
import { change } from '../../support/partition-image.js';
import { openRaw } from '../../support/raw-device.js';
import { run } from '../../support/run.js';
import { mountLoop } from '../../support/temporary.js';
import { emptyXfs } from '../../support/xfs-image.js';

const attributes = `
import os, sys
open(sys.argv[1], 'w').close()
os.setxattr(sys.argv[1], 'user.large', b'x' * 60000)
for i in range(100): os.setxattr(sys.argv[1], 'user.%d' % i, b'')
`;

needs({ programs: ['mkfs.xfs', 'mount', 'python3'], root: true })(
  'attributes that all name the same value, and are more than their blocks could hold, are refused',
  async () => {
    const path = await emptyXfs('-b size=4096', '64M');
    const { mountPoint, unmount } = await mountLoop(path);
    await run('/usr/bin/python3', ['-c', attributes, join(mountPoint, 'file')]);
    await unmount();
    const blocks: number[] = [];
    {
      await using device = await openRaw(path);
      const file = await (await openXfs(device)).open('/file');
      expect(await file.xattrs()).toHaveLength(101);
      for await (const { offset, length } of file.fileMap()) {
        for (let at = 0n; at < length; at += 4096n) blocks.push(Number(offset + at));
      }
    }
    for (const block of blocks) await change(path, block, 4096, pointToOne);
    await using device = await openRaw(path);
    const file = await (await openXfs(device)).open('/file');
    await expect(file.xattrs()).rejects.toMatchObject({ code: 'CORRUPT', facts: { field: 'valuelen' } });
  },
);

/** Of a leaf, makes all entries those of the value that lies elsewhere. */
function pointToOne(block: Uint8Array): void {
  const view = viewOf(block);
  if (attributeBlock.at(view).magic !== attributeMagics.leaf[1]) return;
  const start = attributeLeaf.entries[1];
  const end = start + view.getUint16(attributeLeaf.count[1]) * attributeEntry.size;
  let remote: { nameidx: number; flags: number } | undefined;
  for (let at = start; at < end; at += attributeEntry.size) {
    const { nameidx, flags } = attributeEntry.at(view, at);
    if (flags === 0) remote = { nameidx, flags };
  }
  if (remote === undefined) return;
  for (let at = start; at < end; at += attributeEntry.size) attributeEntry.put(view, remote, at);
  const { offset } = attributeBlockV5.fields.crc;
  view.setUint32(offset, crcWithout(block, offset), true);
}
