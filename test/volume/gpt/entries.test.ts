import { expect } from 'vitest';
import { gptEntry, gptHeader } from '../../../src/volume/gpt/on-disk.js';
import { needs } from '../../support/needs.js';
import { gptPlaces, partitioned, patch, readTable, gptScript as script, seal } from '../../support/partition-image.js';
import { run } from '../../support/run.js';

const it = needs({ programs: ['sfdisk', 'partx', 'blkid'] });
const { primary, entries } = gptPlaces;

it('reads names outside of ASCII, as sfdisk does', async () => {
  const path = await partitioned('label: gpt\nstart=2048,size=2048,name="Größe 磁盤"\n');
  const { partitions } = await readTable(path);
  expect(partitions[0]?.name).toBe('Größe 磁盤');
  expect(await run('sfdisk', ['--json', path], { env: { LC_ALL: 'C.UTF-8' } })).toContain('"name": "Größe 磁盤"');
});

it('reads a name of all 36 units, surrogate pairs and halves of them', async () => {
  const path = await partitioned(script);
  const name = `🖴${'x'.repeat(33)}\udc00`;
  await patch(path, entries, gptEntry, { PartitionName: Buffer.from(name, 'utf16le') });
  await seal(path, primary);
  expect((await readTable(path)).partitions[0]?.name).toBe(`🖴${'x'.repeat(33)}\ufffd`);
});

it('reads entries of 256 bytes', async () => {
  const path = await partitioned(script);
  const { partitions } = await readTable(path);
  await patch(path, primary, gptHeader, { SizeOfPartitionEntry: 256, NumberOfPartitionEntries: 64 });
  await seal(path, primary);
  // Of the entries of 128 bytes every second one is now room after another: 1 and 5 stay, as 1 and 3.
  const table = await readTable(path);
  expect(table.partitions.map(({ number, offset }) => [number, offset])).toEqual([
    [1, partitions[0]?.offset],
    [3, partitions[2]?.offset],
  ]);
  expect(table.warnings).toEqual([expect.stringContaining('differs from the primary')]);
});

for (const values of [
  { StartingLBA: 4000n, EndingLBA: 2048n },
  { StartingLBA: 2048n, EndingLBA: 2n ** 64n - 1n },
]) {
  it(`leaves out a partition from sector ${values.StartingLBA} to ${values.EndingLBA}, with a warning`, async () => {
    const path = await partitioned(script);
    await patch(path, entries, gptEntry, values);
    await seal(path, primary);
    const { partitions, warnings } = await readTable(path);
    expect(partitions.map(({ number }) => number)).toEqual([2, 5]);
    expect(warnings).toContainEqual(expect.stringContaining('partition 1 is left out'));
  });
}
