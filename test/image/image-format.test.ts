import { expect, test } from 'vitest';
import { memoryDevice } from '../../src/device/memory-device.js';
import { detectImageFormat } from '../../src/image/image-format.js';

async function detected(head: string, size = head.length): Promise<string> {
  await using device = memoryDevice(BigInt(size));
  await device.write(Buffer.from(head, 'latin1'), 0n);
  return await detectImageFormat(device);
}

test('a VMDK descriptor is known by its text, as QEMU knows it, in files of any length', async () => {
  for (const head of [
    'version=1\n',
    'version=3\r\n',
    '# a comment\n#\n  \n \r\nversion=2\n',
    '# Disk DescriptorFile, and nothing that QEMU would know',
  ]) {
    expect({ head, format: await detected(head) }).toEqual({ head, format: 'vmdk' });
    expect({ head, format: await detected(head, 4096) }).toEqual({ head, format: 'vmdk' });
  }
  for (const head of [
    '',
    'version=4\n',
    'version=1',
    '\nversion=1\n',
    ' version=1\n',
    'x\nversion=1\n',
    '#!/bin/sh\n',
  ]) {
    expect({ head, format: await detected(head) }).toEqual({ head, format: 'raw' });
  }
});
