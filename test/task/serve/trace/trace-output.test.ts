import { once } from 'node:events';
import { createReadStream, existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { TraceOutput } from '../../../../src/task/serve/trace/trace-output.js';
import { run } from '../../../support/run.js';
import { temporaryFolder } from '../../../support/temporary.js';

const lost = (count: number) => `lost ${count}\n`;

test('writes all lines in their order to a new file', async () => {
  const file = join(await temporaryFolder(), 'trace');
  const output = await TraceOutput.open({ to: { file }, lost });
  const lines = Array.from({ length: 50_000 }, (_, i) => `read f /dev/sda1 /file-${i}\n`);
  for (const line of lines) output.write(line);
  await output.end(true);
  expect(await readFile(file, 'utf8')).toBe(lines.join(''));
  expect(output.lost).toBe(0);
});

test('refuses a file that is there, and leaves it as it is', async () => {
  const file = join(await temporaryFolder(), 'trace');
  await writeFile(file, 'precious');
  await expect(TraceOutput.open({ to: { file }, lost })).rejects.toMatchObject({ code: 'UNSAFE' });
  expect(await readFile(file, 'utf8')).toBe('precious');
});

test('leaves out what a slow reader has no room for, and says how many lines in their place', async () => {
  const file = join(await temporaryFolder(), 'fifo');
  await run('mkfifo', [file]);
  const warnings: string[] = [];
  const opening = TraceOutput.open({ to: { file }, lost, limit: 200_000, onWarning: (text) => warnings.push(text) });
  const reader = createReadStream(file, { highWaterMark: 4096 });
  reader.pause();
  const output = await opening;
  const line = (i: number) => `read f /dev/sda1 /file-${i}\n`;
  // More than the pipe and what may wait together.
  const count = 200_000;
  for (let i = 0; i < count; i++) output.write(line(i));
  const dropped = output.lost;
  expect(dropped).toBeGreaterThan(0);
  const [told] = await Promise.all([text(reader), output.end(true)]);
  expect(told).toBe(Array.from({ length: count - dropped }, (_, i) => line(i)).join('') + lost(dropped));
  expect(warnings).toEqual([`${dropped} lines of the trace were lost: nobody took them in time`]);
});

test('goes on without a reader that has gone, warns once, and counts what is lost', async () => {
  const file = join(await temporaryFolder(), 'fifo');
  await run('mkfifo', [file]);
  const warnings: string[] = [];
  const opening = TraceOutput.open({ to: { file }, lost, onWarning: (text) => warnings.push(text) });
  const reader = createReadStream(file);
  const output = await opening;
  reader.destroy();
  await once(reader, 'close');
  for (let i = 0; i < 3; i++) {
    output.write('read v /dev/sda\n');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await output.end(true);
  expect(warnings).toEqual(['the trace ends: its reader is gone', '3 lines of the trace were lost']);
});

test('removes the file that it made when nothing was served and nothing is in it, and no other', async () => {
  const folder = await temporaryFolder();
  const [unused, used] = [join(folder, 'unused'), join(folder, 'used')];
  await (await TraceOutput.open({ to: { file: unused }, lost })).end(false);
  expect(existsSync(unused)).toBe(false);
  const output = await TraceOutput.open({ to: { file: used }, lost });
  output.write('read v /dev/sda\n');
  await output.end(false);
  expect(await readFile(used, 'utf8')).toBe('read v /dev/sda\n');
});
