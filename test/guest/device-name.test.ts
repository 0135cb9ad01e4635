import { describe, expect, test } from 'vitest';
import { parseDeviceName, partitionName } from '../../src/guest/device-name.js';

describe('parseDeviceName', () => {
  test.each([
    ['/dev/sda1', 1, 1],
    ['sda1', 1, 1],
    ['/dev/vda15', 1, 15],
    ['xvda2', 1, 2],
    ['hda3', 1, 3],
    ['/dev/nvme0n1p7', 1, 7],
    ['mmcblk0p1', 1, 1],
    ['1', 1, 1],
    ['128', 1, 128],
    ['/dev/sda', 1, undefined],
    ['nvme0n1', 1, undefined],
    ['mmcblk0', 1, undefined],
    ['/dev/sdb1', 2, 1],
    ['sdaa1', 27, 1],
    ['nvme1n1p1', 2, 1],
    ['nvme0n2p1', 2, 1],
    ['mmcblk1p2', 2, 2],
  ])('reads %s as disk %i, partition %s', (name, disk, partition) => {
    expect(parseDeviceName(name)).toEqual({ disk, partition });
  });

  test.each([
    '',
    '0',
    '01',
    'sda0',
    'sda01',
    '/dev/',
    'sd',
    'sd1',
    '/dev/mapper/root',
    'nvme0n0',
    'SDA1',
    'sda1 ',
    '-1',
  ])('takes "%s" for no device name', (name) => {
    expect(parseDeviceName(name)).toBeUndefined();
  });

  test('names partitions as libguestfs does', () => {
    expect(partitionName(5)).toBe('/dev/sda5');
  });
});
