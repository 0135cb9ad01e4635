import { open } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import { RangeSet } from '../../../src/binary/range-set.js';
import { openBtrfs } from '../../../src/filesystem/btrfs/btrfs.js';
import { emptyBtrfs } from '../../support/btrfs-image.js';
import { poison } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { run } from '../../support/run.js';
import { mountLoop } from '../../support/temporary.js';

const it = needs({ programs: ['mkfs.btrfs', 'mount', 'fstrim', 'python3'], root: true });

/** Where a file has holes, by lseek(2). */
const holesScript = `
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(fd).st_size
at = 0
while at < size:
    hole = os.lseek(fd, at, os.SEEK_HOLE)
    if hole == size: break
    try: at = os.lseek(fd, hole, os.SEEK_DATA)
    except OSError: at = size
    print(hole, at - hole)
`;

async function holesOf(path: string): Promise<RangeSet> {
  const lines = (await run('/usr/bin/python3', ['-c', holesScript, path])).split('\n').filter((line) => line !== '');
  return RangeSet.of(
    lines.map((line) => {
      const [offset = '', length = ''] = line.split(' ');
      return { offset: BigInt(offset), length: BigInt(length) };
    }),
  );
}

async function freeOf(path: string): Promise<RangeSet> {
  await using device = await openRaw(path);
  return await (await openBtrfs(device)).freeSpace();
}

const mirror = 64n << 20n;

describe('FITRIM discards what is free', () => {
  const shapes: Record<string, { mkfs: string; less: object[]; more: object[] }> = {
    // Where one copy of a chunk has a superblock, the kernel keeps its room in the other copy as well.
    'but for the room of a superblock in the other copy of its chunk': {
      mkfs: '',
      less: [{ offset: 96n << 20n, length: 65_536n }],
      more: [],
    },
    // And where no chunk is, 4 KiB are enough for it.
    'and of the room of a superblock in no chunk all but 4 KiB': {
      mkfs: '-m single',
      less: [],
      more: [{ offset: mirror + 4096n, length: 65_536n - 4096n }],
    },
  };
  for (const [name, { mkfs, less, more }] of Object.entries(shapes)) {
    it(name, async () => {
      const path = await emptyBtrfs(mkfs, '128M');
      const filled = await mountLoop(path, ['nodiscard']);
      for (const size of [3, 2, 1]) {
        await run('dd', ['if=/dev/urandom', `of=${filled.mountPoint}/${size}`, 'bs=100k', `count=${size}`]);
      }
      await run('rm', [`${filled.mountPoint}/2`]);
      await filled.unmount();
      await poison(path, RangeSet.of([...(await freeOf(path)), { offset: mirror + 4096n, length: 61_440n }]));
      await fillHoles(path);
      const free = await freeOf(path);
      // Mounted anew: the kernel does not trim what an allocator has put aside for what is to be written next.
      const { mountPoint, unmount } = await mountLoop(path, ['nodiscard']);
      await run('fstrim', [mountPoint]);
      const holes = await holesOf(path);
      await unmount();
      expect([...free.subtract(holes)]).toEqual(less);
      expect([...holes.subtract(free)]).toEqual(more);
    }, 60_000);
  }
});

/** Writes what is there already to where nothing was ever written, so that every hole is one that was made later. */
async function fillHoles(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  for (const { offset, length } of await holesOf(path)) {
    await file.write(Buffer.alloc(Number(length)), 0, Number(length), Number(offset));
  }
}
