import { describe, expect } from 'vitest';
import { type BlockRun, blockRuns } from '../../../src/filesystem/ext/block-runs.js';
import { readInode } from '../../../src/filesystem/ext/inode.js';
import { readSuperblock } from '../../../src/filesystem/ext/superblock.js';
import { ExtVolume } from '../../../src/filesystem/ext/volume.js';
import { extImage } from '../../support/ext-image.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { run } from '../../support/run.js';

/** What debugfs says of an inode's blocks, in the words of its `stat`: `(0-3):100-103`, `(IND):99`, `(12[u]):7`. */
async function debugfsBlocks(path: string, inode: number): Promise<{ content: string[]; map: number[] }> {
  const text = await run('debugfs', ['-R', `stat <${inode}>`, path], { env: { LC_ALL: 'C' } });
  const list = /^(?:EXTENTS|BLOCKS):\n([\s\S]*?)(?:\nTOTAL: \d+)?$/m.exec(text)?.[1] ?? '';
  const items = [...list.matchAll(/\(([^)]*)\):(\d+)(?:-(\d+))?/g)].map(([, what = '', first = '', last = first]) => ({
    what,
    first: Number(first),
    last: Number(last),
  }));
  const content: string[] = [];
  for (const { what, first, last } of items.filter(({ what }) => /^\d/.test(what))) {
    const [start = 0] = what.split(/\D/).map(Number);
    for (let i = 0; i <= last - first; i++) content.push(`${start + i}${what.includes('[u]') ? 'u' : ''}:${first + i}`);
  }
  const map = items.filter(({ what }) => !/^\d/.test(what)).map(({ first }) => first);
  return { content, map: map.sort((a, b) => a - b) };
}

function asDebugfs(runs: readonly BlockRun[]): { content: string[]; map: number[] } {
  const content = runs
    .filter(({ role }) => role === 'content')
    .flatMap(({ fileBlock, block, count, unwritten }) =>
      Array.from({ length: count }, (_, i) => `${fileBlock + i}${unwritten ? 'u' : ''}:${block + i}`),
    );
  const map = runs.filter(({ role }) => role === 'map').map(({ block }) => block);
  return { content, map: map.sort((a, b) => a - b) };
}

async function runsOf(volume: ExtVolume, inode: number): Promise<BlockRun[]> {
  const found: BlockRun[] = [];
  for await (const run of blockRuns(volume, await readInode(volume, inode))) found.push(run);
  return found;
}

const journalInode = 8;

describe('the blocks of an inode are those that debugfs names', () => {
  const it = needs({ programs: ['mke2fs', 'debugfs'] });
  for (const [name, mke2fs] of Object.entries({
    'block maps': '-t ext3 -b 1024 -J size=4',
    'block maps of three levels': '-t ext3 -b 1024 -J size=70',
    'extents of 1 KiB blocks': '-t ext4 -b 1024 -J size=4',
    'extents of 4 KiB blocks': '-t ext4 -b 4096',
    bigalloc: '-t ext4 -b 4096 -O bigalloc -C 16384',
  })) {
    it(`with ${name}`, async () => {
      const { path } = await extImage({ mke2fs, size: '160M', keep: true }, 30);
      await using device = await openRaw(path);
      const volume = await ExtVolume.open(device, await readSuperblock(device));
      let blocks = 0;
      for (const inode of [journalInode, ...Array.from({ length: 20 }, (_, i) => 12 + i)]) {
        const expected = await debugfsBlocks(path, inode);
        expect(asDebugfs(await runsOf(volume, inode)), `inode ${inode}`).toEqual(expected);
        blocks += expected.content.length;
      }
      expect(blocks).toBeGreaterThan(1000);
    });
  }
});
