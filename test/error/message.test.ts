import { expect, test } from 'vitest';
import { describe as compose, hex, type Place } from '../../src/error/message.js';

test.each<[string, Place]>([
  [
    'ext4 superblock at byte 0x400 of a.img: s_log_block_size is 40, expected 0 to 6',
    {
      structure: 'ext4 superblock',
      offset: 0x400n,
      device: 'a.img',
      field: 's_log_block_size',
      actual: 40,
      expected: '0 to 6',
    },
  ],
  ['GPT header of a.img: checksum is wrong', { structure: 'GPT header', device: 'a.img', field: 'checksum' }],
  ['GPT header at byte 0x200: is wrong', { structure: 'GPT header', offset: 512n }],
  ['data at byte 0x0 of a.img: is wrong', { offset: 0n, device: 'a.img' }],
  ['value is 9007199254740993, expected less', { field: 'value', actual: 2n ** 53n + 1n, expected: 'less' }],
  ['of a.img: size is 0', { device: 'a.img', field: 'size', actual: 0 }],
])('composes "%s"', (message, place) => {
  expect(compose(place)).toBe(message);
});

test('writes offsets in hexadecimal, negative ones too', () => {
  expect([hex(0n), hex(255), hex(2n ** 63n), hex(-16n), hex(-1)]).toEqual([
    '0x0',
    '0xff',
    '0x8000000000000000',
    '-0x10',
    '-0x1',
  ]);
});
