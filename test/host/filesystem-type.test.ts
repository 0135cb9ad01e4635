import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { hostFilesystem } from '../../src/host/filesystem-type.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const withMounts = needs({ programs: ['mount'], root: true });

async function typeOf(path: string): Promise<string> {
  const handle = await open(path, 'r');
  try {
    return hostFilesystem(handle.fd).type;
  } finally {
    await handle.close();
  }
}

needs({})('agrees with findmnt about where a file lies', async () => {
  const folder = await temporaryFolder();
  const type = await run('findmnt', ['--noheadings', '--output', 'FSTYPE', '--target', folder]);
  expect(await typeOf(folder)).toBe(type.trim());
  expect(await typeOf('/proc/self/status')).toBe('proc');
});

withMounts('knows an overlay', async () => {
  const folder = await temporaryFolder();
  const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) => join(folder, name));
  await run('mkdir', [lower ?? '', upper ?? '', work ?? '', merged ?? '']);
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  await run('mount', ['-t', 'overlay', '-o', options, 'overlay', merged ?? '']);
  try {
    expect(await typeOf(merged ?? '')).toBe('overlay');
  } finally {
    await run('umount', [merged ?? '']);
  }
});

withMounts('knows the filesystem of a file whose mount has gone from sight', async () => {
  const folder = await temporaryFolder();
  await run('mount', ['-t', 'tmpfs', 'tmpfs', folder]);
  const handle = await open(join(folder, 'file'), 'w');
  await run('umount', ['--lazy', folder]);
  expect(hostFilesystem(handle.fd).type).toBe('tmpfs');
  await handle.close();
});
