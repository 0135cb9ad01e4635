import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type LineKind, lineKinds } from '../../../src/task/block-map/map-lines.js';
import { OwnerIndexBuilder } from '../../../src/task/block-map/owner-index.js';

interface Line {
  readonly kind: LineKind;
  readonly start: number;
  readonly end: number;
  readonly device: string;
  readonly path?: string | undefined;
}

function indexOf(lines: readonly Line[]) {
  const builder = new OwnerIndexBuilder();
  for (const { kind, start, end, device, path } of lines) {
    const name = Buffer.from(device);
    const bytes = path === undefined ? undefined : Buffer.from(path);
    builder.add(kind, start, end, builder.device(name, 0, name.length), bytes, 0, bytes?.length ?? 0);
  }
  return builder.finish();
}

/** The most particular line that covers a byte, found by looking at all of them. */
function ownerAt(lines: readonly Line[], at: number): Line | undefined {
  const ranks = ['f', 'd', 'm', 's', 'u', 'p', 'v'];
  const covering = lines.filter(({ start, end }) => start <= at && at < end);
  const least = Math.min(...covering.map(({ kind }) => ranks.indexOf(kind)));
  const same = covering.filter(({ kind }) => ranks.indexOf(kind) === least);
  return least >= ranks.indexOf('p') ? same.at(-1) : same[0];
}

const line = fc.record({
  kind: fc.constantFrom(...lineKinds),
  start: fc.nat(60),
  length: fc.integer({ min: 1, max: 30 }),
  device: fc.constantFrom('/dev/sda1', '/dev/vg/root'),
  path: fc.constantFrom('/', '/a', '/a/b', '/c/b', '/a/\n'),
});

test('finds for each byte the most particular of the lines that cover it, however they overlap', () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), (found) => {
      const lines = found
        .map(({ kind, start, length, device, path }): Line => {
          const named = kind === 'f' || kind === 'd' ? path : undefined;
          return { kind, start, end: start + length, device, path: named };
        })
        .sort((a, b) => a.start - b.start || b.end - a.end);
      const index = indexOf(lines);
      for (let at = 0; at < 100; at++) {
        const stretch = index.find(at);
        const owner = index.ownerOf(stretch);
        const told = owner === undefined ? undefined : index.describe(owner);
        const wanted = ownerAt(lines, at);
        expect(told && [told.kind, told.device, told.path?.toString()]).toEqual(
          wanted && [wanted.kind, wanted.device, wanted.path],
        );
        expect(stretch === -1 || (index.startOf(stretch) <= at && at < index.endOf(stretch))).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
});

test('calls a file with several names by that whose line comes first', () => {
  const place = { kind: 'f', start: 0, end: 10, device: '/dev/sda' } as const;
  const index = indexOf([
    { ...place, path: '/z' },
    { ...place, path: '/a' },
  ]);
  expect(index.describe(index.ownerOf(index.find(5)) ?? -1).path?.toString()).toBe('/z');
});

test('gives the extents of a file one number, wherever they lie, and no other file the same', () => {
  const paths = Array.from({ length: 20_000 }, (_, i) => `/d${i % 300}/${i % 2 === 0 ? 'even' : 'odd'}-${i}`);
  const lines = [...paths, ...paths].map((path, i): Line => {
    return { kind: 'f', start: i * 10, end: i * 10 + 5, device: '/dev/sda', path };
  });
  const index = indexOf(lines);
  const numbers = lines.map(({ start }) => index.ownerOf(index.find(start)) ?? -1);
  expect(numbers.slice(0, paths.length)).toEqual(numbers.slice(paths.length));
  expect(new Set(numbers).size).toBe(paths.length);
  expect(numbers.map((number) => index.describe(number).path?.toString())).toEqual([...paths, ...paths]);
});
