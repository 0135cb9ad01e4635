import { describe, expect, test } from 'vitest';
import { roundDown } from '../../../src/binary/convert.js';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { probe } from '../../../src/filesystem/probe.js';
import { containers } from '../../../src/filesystem/signature/containers.js';
import { filesystems } from '../../../src/filesystem/signature/filesystems.js';

const size = (65n << 20n) + 512n;
const signatures = [...containers, ...filesystems];

describe('the tables of signatures', () => {
  for (const { type, marks } of signatures.filter(({ inspect }) => inspect === undefined)) {
    test(`${type} is found at each of its ${marks.length} places`, async () => {
      for (const { from, base, unit, inside, magic } of marks) {
        await using device = memoryDevice(size);
        const offset = from === 'start' ? base : roundDown(size, unit) - base;
        await device.write(magic, offset + BigInt(inside));
        expect(await probe(device)).toMatchObject({ kind: 'one', match: { type, offset } });
      }
    });
  }

  test('every structure that is looked into has a size, and holds its magic', () => {
    for (const { type, marks, inspect, size: structure } of signatures) {
      if (inspect === undefined) continue;
      expect(structure, type).toBeDefined();
      for (const { inside } of marks) expect(inside, type).toBeLessThan(structure ?? 0);
    }
  });

  test('what hides everything keeps its superblock at the end of the device, where it holds nothing', () => {
    for (const { marks } of signatures.filter(({ hides }) => hides?.includes('*'))) {
      for (const { from } of marks) expect(from).toBe('end');
    }
  });
});
