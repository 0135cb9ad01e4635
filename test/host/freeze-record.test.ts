import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  type FreezeRecord,
  findRecord,
  isAlive,
  pruneRecords,
  recordFolder,
  removeRecord,
  startTimeOf,
  writeRecord,
} from '../../src/host/freeze-record.js';
import { temporaryFolder } from '../support/temporary.js';

const guard = { pid: process.pid, startTime: startTimeOf(process.pid) ?? '' };
const record: FreezeRecord = { device: '7:1', mountPoint: '/srv', mountId: 42, guard, timeout: 60_000 };

describe('records of a user', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await temporaryFolder();
    vi.stubEnv('XDG_RUNTIME_DIR', folder);
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  test('lie in a private folder under XDG_RUNTIME_DIR', async () => {
    writeRecord(record);
    expect(recordFolder()).toBe(join(folder, 'disktool'));
    expect((await stat(join(folder, 'disktool'))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(folder, 'disktool'))).toEqual(['frozen-7-1.json']);
  });

  test('come back as they were written, until they are removed', () => {
    const thawed = { ...record, thawed: { why: 'timeout' as const, at: 1 } };
    writeRecord(record);
    writeRecord(thawed);
    expect(findRecord({ id: 42, device: '7:1', mountPoint: '/srv' })).toEqual(thawed);
    removeRecord('7:1');
    expect(findRecord({ id: 42, device: '7:1', mountPoint: '/srv' })).toBeUndefined();
  });

  test('of an earlier mount of the same device are not those of a later one', () => {
    writeRecord(record);
    expect(findRecord({ id: 43, device: '7:1', mountPoint: '/srv' })).toBeUndefined();
  });

  test('that make no sense are as if they were not there', async () => {
    writeRecord(record);
    for (const text of ['', '{', 'null', '{"device":"7:1"}', JSON.stringify({ ...record, guard: { pid: 1 } })]) {
      await writeFile(join(folder, 'disktool', 'frozen-7-1.json'), text);
      expect(findRecord({ id: 42, device: '7:1', mountPoint: '/srv' })).toBeUndefined();
    }
  });

  test('are pruned when their mount is gone, and their guard too', async () => {
    writeRecord(record);
    writeRecord({ ...record, device: '7:2', guard: { ...guard, startTime: '1' } });
    pruneRecords([]);
    expect(await readdir(join(folder, 'disktool'))).toEqual(['frozen-7-1.json']);
  });
});

describe('isAlive', () => {
  test('is true of this process', () => {
    expect(isAlive(guard)).toBe(true);
  });

  test('is false of a process that was started at another time, and of one that has ended', async () => {
    expect(isAlive({ ...guard, startTime: '1' })).toBe(false);
    const child = spawn('sleep', ['60']);
    const pid = child.pid ?? 0;
    const startTime = startTimeOf(pid) ?? '';
    expect(isAlive({ pid, startTime })).toBe(true);
    child.kill();
    await once(child, 'exit');
    expect(isAlive({ pid, startTime })).toBe(false);
  });
});
