import { expect, test } from 'vitest';
import { ErrorLayer } from '../../../src/device/layer/error.js';
import { LogLayer } from '../../../src/device/layer/log.js';
import { memoryDevice } from '../../../src/device/memory-device.js';

test('tells of each request when it begins and when it ends, with what it asked and how it went', async () => {
  const lines: string[] = [];
  const below = new ErrorLayer(memoryDevice(1n << 20n), { byOperation: { trim: { rate: 1, errno: 'ENOSPC' } } });
  await using device = new LogLayer(below, (line) => lines.push(line));
  await device.write(new Uint8Array(512), 4096n);
  await device.zero(0n, 16n, { mayTrim: true, fast: true });
  await device.trim(7n, 9n).catch(() => {});
  await device.flush();
  expect(lines.map((line) => line.replace(/microseconds=\d+/, 'microseconds=N'))).toEqual([
    '1 write offset=0x1000 length=0x200',
    '1 end microseconds=N result=ok',
    '2 zero offset=0x0 length=0x10 flags=mayTrim,fast',
    '2 end microseconds=N result=ok',
    '3 trim offset=0x7 length=0x9',
    '3 end microseconds=N result=ENOSPC',
    '4 flush offset=0x0 length=0x0',
    '4 end microseconds=N result=ok',
  ]);
});
