import { describe, expect, test } from 'vitest';
import { formatUuid } from '../../src/binary/uuid.js';

describe('formatUuid', () => {
  test('writes the example of RFC 9562, section 4', () => {
    const bytes = Buffer.from('f81d4fae7dec11d0a76500a0c91e6bf6', 'hex');
    expect(formatUuid(bytes)).toBe('f81d4fae-7dec-11d0-a765-00a0c91e6bf6');
  });

  test('writes nothing for the nil UUID, as blkid does', () => {
    expect(formatUuid(new Uint8Array(16))).toBe('');
  });
});
