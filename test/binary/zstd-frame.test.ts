import { expect, test } from 'vitest';
import { viewOf } from '../../src/binary/layout.js';
import { measureZstdFrame } from '../../src/binary/zstd-frame.js';

test('measures no frame that starts with something else, or with a reserved bit', () => {
  expect(() => measureZstdFrame(viewOf(new Uint8Array(16)), 0)).toThrow('no Zstandard frame');
  const frame = Buffer.from('28b52ffd2800010000', 'hex');
  expect(() => measureZstdFrame(viewOf(frame), 0)).toThrow('reserved bit');
});
