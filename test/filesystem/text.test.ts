import { describe, expect, test } from 'vitest';
import { decodeText, decodeUtf16 } from '../../src/filesystem/text.js';

describe('decodeText', () => {
  test.each([
    ['root\0\0garbage', 'root'],
    ['no end at all', 'no end at all'],
    ['spaces   ', 'spaces'],
    ['  before', '  before'],
    ['\0', ''],
    ['naïve ☂', 'naïve ☂'],
  ])('reads %j as %j', (raw, text) => {
    expect(decodeText(Buffer.from(raw))).toBe(text);
  });

  test('reads bytes that are no UTF-8 without failing', () => {
    expect(decodeText(Uint8Array.of(0x61, 0xff, 0x62))).toBe('a\ufffdb');
  });
});

describe('decodeUtf16', () => {
  test('reads up to the first NUL', () => {
    expect(decodeUtf16(Buffer.from('flash ☂\0rest', 'utf16le'))).toBe('flash ☂');
  });
});
