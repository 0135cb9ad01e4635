import { expect, test } from 'vitest';
import { type LineKind, MapLines } from '../../../src/task/block-map/map-lines.js';

test('lines come by their start, larger ones first, and keep their devices and paths', () => {
  const lines = new MapLines();
  const paths = ['/a', '/b\n', `/${'long'.repeat(30_000)}`].map((path) => lines.addPath(Buffer.from(path)));
  lines.add('f', '/dev/sda2', 9000n, 10n, paths[2]);
  lines.add('f', '/dev/sda1', 100n, 50n, paths[0]);
  lines.add('f', '/dev/sda1', 100n, 50n, paths[1]);
  lines.add('d', '/dev/sda1', 100n, 50n, paths[1]);
  lines.add('m', '/dev/sda1', 100n, 80n);
  lines.add('v', '/dev/sda', 0n, 2n ** 53n - 1n);
  const told = [...lines].map(({ start, end, kind, device, path }) => [start, end, kind, device, path?.toString()]);
  expect(told).toEqual([
    [0n, 2n ** 53n - 1n, 'v', '/dev/sda', undefined],
    [100n, 180n, 'm', '/dev/sda1', undefined],
    [100n, 150n, 'f', '/dev/sda1', '/a'],
    [100n, 150n, 'f', '/dev/sda1', '/b\n'],
    [100n, 150n, 'd', '/dev/sda1', '/b\n'],
    [9000n, 9010n, 'f', '/dev/sda2', `/${'long'.repeat(30_000)}`],
  ]);
});

test('holds many lines, which may be added to after they were read', () => {
  const lines = new MapLines();
  const kinds: LineKind[] = ['f', 'd', 'm', 'u'];
  for (let i = 0; i < 5000; i++) {
    const path = lines.addPath(Buffer.from(`/file ${i}`));
    lines.add(kinds[i % 4] ?? 'f', `/dev/sda${i % 3}`, BigInt((i * 7919) % 5000), 1n, path);
    if (i === 10) expect([...lines]).toHaveLength(11);
  }
  const found = [...lines];
  expect(found.map(({ start }) => Number(start))).toEqual(Array.from({ length: 5000 }, (_, i) => i));
  for (const { start, kind, device, path } of found) {
    const i = Number(/\d+/.exec(path?.toString() ?? ''));
    expect([BigInt((i * 7919) % 5000), kinds[i % 4], `/dev/sda${i % 3}`]).toEqual([start, kind, device]);
  }
});

test('refuses what a number cannot hold exactly', () => {
  expect(() => new MapLines().add('p', '/dev/sda1', 2n ** 53n, 1n)).toThrow(
    expect.objectContaining({ code: 'UNSUPPORTED' }),
  );
});
