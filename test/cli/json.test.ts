import fc from 'fast-check';
import { expect, test } from 'vitest';
import { toJson, toJsonLine } from '../../src/cli/json.js';

test('writes integers past 2^53 as exact JSON numbers', () => {
  expect(toJsonLine({ size: 2n ** 63n - 1n })).toBe('{"size":9223372036854775807}');
});

test('leaves out what is not set, and writes empty lists and objects', () => {
  expect(toJsonLine({ a: undefined, b: [], c: {}, d: null })).toBe('{"b":[],"c":{},"d":null}');
});

test('agrees with JSON.stringify on everything that JSON.stringify can write', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(JSON.parse(toJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      expect(JSON.parse(toJsonLine(value))).toEqual(JSON.parse(JSON.stringify(value)));
      expect(toJsonLine(value)).not.toContain('\n');
    }),
  );
});

test('indents as JSON.stringify does', () => {
  const value = { a: [1, { b: 'c' }], d: true };
  expect(toJson(value)).toBe(JSON.stringify(value, null, 2));
});
