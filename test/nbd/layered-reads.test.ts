import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { RangeSet } from '../../src/binary/range-set.js';
import { withLayers } from '../../src/device/layer/stack.js';
import { openImage } from '../../src/image/open-image.js';
import { NbdDevice, NbdServer } from '../../src/nbd/index.js';
import { temporaryFolder } from '../support/temporary.js';
import { MiB } from './raw-client.js';

test('a read of any size is refused, told of and counted by the layers over a file, once', async () => {
  const folder = await temporaryFolder();
  const bytes = randomBytes(4 * MiB);
  await writeFile(join(folder, 'a.img'), bytes);
  const lines: string[] = [];
  const { device, stats } = withLayers(await openImage(join(folder, 'a.img'), { access: 'read', format: 'raw' }), {
    errors: { rate: 1, errno: 'ENOSPC', range: RangeSet.of([{ offset: BigInt(2 * MiB), length: 1n }]) },
    stats: true,
    log: (line) => lines.push(line),
  });
  const socketPath = join(folder, 's');
  const server = await NbdServer.listen([{ name: '', description: 'a disk', device }], { socketPath });
  onTestFinished(async () => {
    await server.close();
    await device.close();
  });
  await using client = await NbdDevice.connect(server.uri, { access: 'read' });
  const sizes = [1, 4096, (32 << 10) + 1, 64 << 10, MiB];
  for (const size of sizes) {
    const into = Buffer.alloc(size);
    await client.read(into, 512n);
    expect(into.equals(bytes.subarray(512, 512 + size))).toBe(true);
    await expect(client.read(into, BigInt(2 * MiB))).rejects.toMatchObject({ errno: 'ENOSPC' });
  }
  expect(stats?.stats.get('read')).toMatchObject({ requests: 2 * sizes.length, failures: sizes.length });
  expect([...(stats?.stats.keys() ?? [])]).toEqual(['read']);
  expect(lines.filter((line) => / read /.test(line))).toHaveLength(2 * sizes.length);
});
