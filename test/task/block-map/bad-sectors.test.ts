import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type BadSectorsOptions, readBadSectors } from '../../../src/task/block-map/bad-sectors.js';
import { needs } from '../../support/needs.js';
import { attempt } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

async function write(text: string): Promise<string> {
  const path = join(await temporaryFolder(), 'list');
  await writeFile(path, text);
  return path;
}

async function bad(text: string, options: BadSectorsOptions = {}): Promise<[number, number][]> {
  const found = await readBadSectors(await write(text), options);
  return [...found.bad].map(({ offset, length }) => [Number(offset), Number(length)]);
}

/** As in the manual of GNU ddrescue. */
const example = `# Mapfile. Created by GNU ddrescue version 1.27
# Command line: ddrescue -d -c18 /dev/fd0 fdimage mapfile
# current_pos  current_status  current_pass
0x00120000     ?               1
#      pos        size  status
0x00000000  0x00117000  +
0x00117000  0x00000200  -
0x00117200  0x00001000  /
0x00118200  0x00007E00  *
0x00120000  0x00048000  ?
`;

test('of a ddrescue map, all that is not finished is bad, or what is asked for', async () => {
  expect(await bad(example)).toEqual([[0x117000, 0x51000]]);
  expect(await bad(example, { statuses: ['-'] })).toEqual([[0x117000, 0x200]]);
  expect(await bad(example, { statuses: ['-', '*'] })).toEqual([
    [0x117000, 0x200],
    [0x118200, 0x7e00],
  ]);
  const { format, untried, end } = await readBadSectors(await write(example));
  expect({ format, untried: untried.total, end }).toEqual({ format: 'ddrescue', untried: 0x48000n, end: 0x168000n });
});

const maps: Readonly<Record<string, readonly [map: string, words?: string]>> = {
  'numbers as in C++': ['0x0 + 1\n0 010 +\n8 0X8 -\n'],
  'a status line without a pass': ['0 F\n0 512 ?\n'],
  'no blocks': ['0 + 1\n'],
  'a comment behind a block, empty lines, and lines that end as on Windows': ['\n0 + 1\r\n\n 0 512 - # here\r\n# x'],
  'a beginning past the start': ['0 + 1\n512 512 -\n'],
  'a block without bytes': ['0 + 1\n0 512 -\n512 0 +\n', 'line 3: the block at 512 has no bytes'],
  'a gap': ['0 + 1\n0 512 -\n1024 512 -\n', 'line 3: the block begins at 1024, and the one before ends at 0x200'],
  'blocks that overlap': ['# a\n0 + 1\n0 512 -\n256 512 +\n', 'line 4: the block begins at 256'],
  'no status line': ['0 512 +\n512 512 -\n', 'line 1: "0 512 +" is neither a number alone nor the status line'],
  'a status that there is not': ['0 + 1\n0 512 x\n', 'line 2: "0 512 x" is no block'],
  'a status of the status line on a block': ['0 + 1\n0 512 F\n', 'line 2: "0 512 F" is no block'],
  'no status': ['0 + 1\n0 512\n', 'line 2: "0 512" is no block'],
  'no number': ['0 + 1\n08 512 -\n', 'line 2: "08 512 -" is no block'],
  'a negative number': ['0 + 1\n-8 512 -\n', 'line 2'],
  'pass 0': ['0 + 0\n0 512 -\n', 'line 1'],
};

needs({ programs: ['ddrescuelog'] })(
  'takes the maps that ddrescuelog takes, and names the line of others',
  async () => {
    for (const [title, [map, words]] of Object.entries(maps)) {
      const path = await write(map);
      expect((await attempt('ddrescuelog', ['-t', path])).status, title).toBe(words === undefined ? 0 : 2);
      const found = readBadSectors(path);
      if (words === undefined) expect((await found).format, title).toBe('ddrescue');
      else
        await expect(found, title).rejects.toMatchObject({ code: 'CORRUPT', message: expect.stringContaining(words) });
    }
  },
);

test('a list has offsets, each of its sector, or numbers of sectors', async () => {
  expect(await bad('5000\n0x200\n\n# a comment\n5119 # another\n511\n')).toEqual([
    [0, 1024],
    [4608, 512],
  ]);
  expect(await bad('10\n11\n20\n', { sectorSize: 4096n })).toEqual([
    [40960, 8192],
    [81920, 4096],
  ]);
  expect(await bad('')).toEqual([]);
});

test.each([
  ['line 2: "2 3" is no number', 'CORRUPT', '1\n2 3\n', {}],
  ['line 2: "-2" is no number', 'CORRUPT', '1\n-2\n', {}],
  ['line 2: "1e3" is no number', 'CORRUPT', '1\n1e3\n', {}],
  ['line 1: 9223372036854775807 is past 2^63-1 bytes', 'CORRUPT', '9223372036854775807\n', {}],
  ['is past 2^63-1 bytes', 'CORRUPT', '9223372036854775807\n', { sectorSize: 4096n }],
  ['line 2: has more than 4096 characters', 'CORRUPT', `1\n${'1'.repeat(70_000)}`, {}],
  ['line 1: "hello world" is neither', 'CORRUPT', 'hello world\n', {}],
  ['is a map of ddrescue, which counts bytes', 'USAGE', '0 + 1\n0 512 -\n', { sectorSize: 512n }],
  ['is a list of numbers, which have no statuses', 'USAGE', '1\n', { statuses: ['-'] }],
] as const)('refuses a list: %s', async (words, code, text, options) => {
  await expect(bad(text, options)).rejects.toMatchObject({ code, message: expect.stringContaining(words) });
});

test('sectors of no size are refused', async () => {
  await expect(bad('1\n', { sectorSize: 0n })).rejects.toMatchObject({ code: 'USAGE' });
});

test('a file that is not there, and a folder, are refused', async () => {
  const folder = await temporaryFolder();
  await expect(readBadSectors(join(folder, 'none'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(readBadSectors(folder)).rejects.toMatchObject({ code: 'USAGE' });
});
