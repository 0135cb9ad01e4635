import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pathText } from '../../../src/cli/path-text.js';
import { DiskError } from '../../../src/error/disk-error.js';
import type { LineSink } from '../../../src/task/block-map/owner-index.js';
import { readMap, unescaped } from '../../../src/task/block-map/read-map.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

class Collected implements LineSink {
  readonly devices: string[] = [];
  readonly lines: unknown[] = [];

  device(bytes: Uint8Array, start: number, end: number): number {
    return this.devices.push(Buffer.from(bytes.subarray(start, end)).toString()) - 1;
  }

  add(...[kind, start, end, device, path, pathStart, pathEnd]: Parameters<LineSink['add']>): void {
    const text = path && Buffer.from(path.subarray(pathStart, pathEnd)).toString('latin1');
    this.lines.push([kind, start, end, this.devices[device], text]);
  }
}

async function linesOf(text: string | Buffer, size = 2n ** 40n): Promise<unknown[]> {
  const path = join(await temporaryFolder(), 'map');
  await writeFile(path, text);
  const sink = new Collected();
  await readMap(path, size, sink, {});
  return sink.lines;
}

test('reads what bmap and virt-bmap write, with its escapes undone', async () => {
  const lines = await linesOf(
    [
      '1 0 80000000 v /dev/sda',
      '1 100000 70000000 p /dev/sda1',
      '1 200000 300000 l /dev/vg/root',
      '1 541000 541400 d /dev/sda1 /',
      '1 541400 541800 f /dev/sda1 /a b/c\\x0ad\\\\e\\xff\\u2028',
      '',
    ].join('\n'),
  );
  expect(lines).toEqual([
    ['v', 0, 0x80000000, '/dev/sda', undefined],
    ['p', 0x100000, 0x70000000, '/dev/sda1', undefined],
    ['p', 0x200000, 0x300000, '/dev/vg/root', undefined],
    ['d', 0x541000, 0x541400, '/dev/sda1', '/'],
    ['f', 0x541400, 0x541800, '/dev/sda1', '/a b/c\nd\\e\xff\xe2\x80\xa8'],
  ]);
});

test('undoes what bmap makes of any path', () => {
  const special = fc.constantFrom(0x5c, 0x0a, 0x1b, 0x85, 0xc2, 0xe2, 0x80, 0xa8, 0xae, 0x78);
  fc.assert(
    fc.property(fc.array(fc.oneof(special, fc.integer({ min: 1, max: 255 })), { maxLength: 20 }), (bytes) => {
      const path = Buffer.from(bytes);
      const text = Buffer.from(pathText(path)).toString('latin1');
      expect(text).not.toContain('\n');
      expect(unescaped(text)).toEqual(path);
    }),
    { numRuns: 2000 },
  );
});

test.each([
  ['', /it has no lines/],
  ['1 0 10 v /dev/sda\n\n', /^line 2 of .*begins with ""/],
  ['2 0 10 v /dev/sda\n', /^line 1 of .*begins with "2", and not with 1/],
  ['1 0x0 10 v /dev/sda\n', /"0x0" is no offset in hexadecimal/],
  ['1  10 v /dev/sda\n', /"" is no offset/],
  ['1 0 fffffffffffffff v /dev/sda\n', /"fffffffffffffff" is no offset below 2\^53/],
  ['1 0 10 v /dev/sda\n1 0 10 q /dev/sda\n', /^line 2 of .*its kind is "q"/],
  ['1 0 10 vv /dev/sda\n', /its kind is "vv"/],
  ['1 0 10 v \n', /names no device/],
  ['1 10 10 v /dev/sda\n', /ends at 0x10, and begins at 0x10/],
  ['1 10 20 v /dev/sda\n1 8 10 f /dev/sda /a\n', /^line 2 of .*begins at 0x8, before the line above it/],
  ['1 0 10 f /dev/sda \n', /a space is all/],
  ['1 0 10 f /dev/sda /a\\q\n', /a backslash in its path/],
  ['1 0 10 f /dev/sda /a\n1 0 10 f /dev/sd', /^line 2 of .*cut short/],
  [`1 0 10 f /dev/sda /${'x'.repeat(5 << 20)}`, /^line 1 of .*more than 1048576 bytes/],
  ['\0\0\0\0', /cut short/],
])('refuses %j', async (text, message) => {
  const error: unknown = await linesOf(text).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(DiskError);
  expect(error).toMatchObject({ code: 'CORRUPT', message: expect.stringMatching(message) });
});

test('refuses a map that ends past the disk', async () => {
  await expect(linesOf('1 0 200 v /dev/sda\n', 0x100n)).rejects.toThrow(
    /line 1 of .* ends at 0x200, past the end of the disk \(0x100\): it is the map of another disk/,
  );
});

test('takes lines that cross the pieces in which a file is read', async () => {
  const count = 150_000;
  const text = Array.from({ length: count }, (_, i) => {
    return `1 ${(i * 16).toString(16)} ${(i * 16 + 16).toString(16)} f /dev/sda /folder/file number ${i}\n`;
  });
  const lines = await linesOf(text.join(''));
  expect(lines).toHaveLength(count);
  expect(lines[123_456]).toEqual(['f', 1_975_296, 1_975_312, '/dev/sda', '/folder/file number 123456']);
});

test('any bytes are read or refused with an error of ours', async () => {
  const piece = fc.oneof(
    fc.constantFrom('1 ', '0 ', 'f ', 'v ', '/dev/sda', ' /a', '\n', '\\x', '1000 '),
    fc.string({ maxLength: 5 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 15 }), async (pieces) => {
      const error: unknown = await linesOf(pieces.join('')).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(error === undefined || error instanceof DiskError).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test('ends at a signal while it waits for the other end of a pipe', async () => {
  const path = join(await temporaryFolder(), 'fifo');
  await run('mkfifo', [path]);
  const signal = AbortSignal.timeout(200);
  await expect(readMap(path, 2n ** 40n, new Collected(), { signal })).rejects.toMatchObject({ code: 'CANCELLED' });
});

test('reads a map from a pipe, a piece of a line at a time', async () => {
  const path = join(await temporaryFolder(), 'fifo');
  await run('mkfifo', [path]);
  const sink = new Collected();
  const reading = readMap(path, 2n ** 40n, sink, {});
  await run('sh', ['-c', `{ printf '1 0 8000 v /dev'; sleep 0.2; printf '/sda\n1 0 4000 p /dev/sda1\n'; } > ${path}`]);
  await reading;
  expect(sink.lines).toEqual([
    ['v', 0, 0x8000, '/dev/sda', undefined],
    ['p', 0, 0x4000, '/dev/sda1', undefined],
  ]);
});

test('refuses a map whose lines end in a carriage return, which would be a part of its names', async () => {
  await expect(linesOf('1 0 80000000 v /dev/sda\r\n')).rejects.toThrow('line 1');
});
