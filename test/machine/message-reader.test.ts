import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MessageReader } from '../../src/machine/message-reader.js';

const bytes = (text: string) => Buffer.from(text);

test('lines come out whole however they are cut, and empty ones not at all', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 8 }),
      fc.integer({ min: 1, max: 9 }),
      (texts, step) => {
        const lines = texts.map((text) => text.replace(/[\r\n]/g, ' ').trim());
        const stream = bytes(lines.map((line) => `${line}\r\n`).join(''));
        const reader = new MessageReader('agent', 1 << 20);
        const found: string[] = [];
        for (let at = 0; at < stream.length; at += step) {
          found.push(...reader.push(stream.subarray(at, at + step)).map(({ text }) => text));
        }
        expect(found).toEqual(lines.filter((line) => line !== ''));
      },
    ),
  );
});

test('the sentinel throws away what came before it, and marks the line after it', () => {
  const reader = new MessageReader('agent', 100);
  expect(reader.push(bytes('{"return": "half'))).toEqual([]);
  expect(reader.push(Buffer.concat([Uint8Array.of(0xff), bytes('{"return": 1}\n{"return": 2}\n')]))).toEqual([
    { text: '{"return": 1}', delimited: true },
    { text: '{"return": 2}', delimited: false },
  ]);
});

test('a line that does not end is not kept for ever', () => {
  const reader = new MessageReader('agent', 1000);
  expect(reader.push(Buffer.alloc(900, 0x20))).toEqual([]);
  expect(() => reader.push(Buffer.alloc(900, 0x20))).toThrow('agent: sent a line of more than 1000 bytes');
});
