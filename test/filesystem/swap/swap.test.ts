import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { memoryDevice } from '../../../src/device/memory-device.js';
import { openSwap } from '../../../src/filesystem/swap/swap.js';
import { needs } from '../../support/needs.js';
import { openRaw } from '../../support/raw-device.js';
import { run } from '../../support/run.js';
import { temporaryFolder } from '../../support/temporary.js';

const size = 8n << 20n;

async function mkswap(...options: readonly string[]): Promise<string> {
  const path = join(await temporaryFolder(), 'swap');
  await writeFile(path, '', { mode: 0o600 });
  await truncate(path, Number(size));
  await run('mkswap', [...options, path]);
  return path;
}

async function patch(path: string, offset: number, bytes: Uint8Array): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(bytes, 0, undefined, offset);
}

describe('openSwap', () => {
  const it = needs({ programs: ['mkswap', 'blkid'] });

  for (const pageSize of [4096, 8192, 16384, 32768, 65536]) {
    it(`reads what mkswap -p ${pageSize} wrote, as blkid does`, async () => {
      const path = await mkswap('-p', String(pageSize), '-L', 'swäp', '-U', '01234567-89ab-cdef-0123-456789abcdef');
      await using device = await openRaw(path);
      const swap = await openSwap(device);
      expect(swap).toMatchObject({ type: 'swap', pageSize, size, state: { kind: 'clean' } });
      expect(swap.label).toBe(await run('blkid', ['-p', '-o', 'value', '-s', 'LABEL', path]));
      expect(swap.uuid).toBe(await run('blkid', ['-p', '-o', 'value', '-s', 'UUID', path]));
      expect([...swap.freeSpace()]).toEqual([{ offset: BigInt(pageSize), length: size - BigInt(pageSize) }]);
    });
  }

  it('reads an area of the other byte order', async () => {
    const path = await mkswap('-e', 'big', '-U', '01234567-89ab-cdef-0123-456789abcdef').catch(async () => {
      const little = await mkswap('-U', '01234567-89ab-cdef-0123-456789abcdef');
      await patch(little, 1024, Uint8Array.of(0, 0, 0, 1, 0, 0, 0x07, 0xff));
      return little;
    });
    await using device = await openRaw(path);
    const swap = await openSwap(device);
    expect(swap).toMatchObject({ type: 'swap', size, uuid: '01234567-89ab-cdef-0123-456789abcdef' });
    expect(swap.freeSpace().total).toBe(size - 4096n);
  });

  for (const magic of ['S1SUSPEND', 'S2SUSPEND', 'ULSUSPEND', 'LINHIB0001']) {
    it(`gives nothing away of an area with ${magic}`, async () => {
      const path = await mkswap('-L', 'sleeper');
      await patch(path, 4086, Buffer.from(magic.padEnd(10, '\0')));
      await using device = await openRaw(path);
      const swap = await openSwap(device);
      expect(swap).toMatchObject({ type: 'swsuspend', label: 'sleeper', state: { kind: 'hibernated' } });
      expect(swap.freeSpace().total).toBe(0n);
    });
  }

  it('gives nothing away of an area with the mark of TuxOnIce', async () => {
    const path = await mkswap();
    await patch(path, 0, Uint8Array.of(0xed, 0xc3, 0x02, 0xe9, 0x98, 0x56, 0xe5, 0x0c));
    await using device = await openRaw(path);
    const swap = await openSwap(device);
    expect(swap).toMatchObject({ type: 'swsuspend', state: { kind: 'hibernated' } });
    expect(swap.freeSpace().total).toBe(0n);
  });

  it('sees hibernation behind a signature of a smaller page', async () => {
    const path = await mkswap();
    await patch(path, 16384 - 10, Buffer.from('S1SUSPEND\0'));
    await using device = await openRaw(path);
    expect(await openSwap(device)).toMatchObject({ type: 'swsuspend', state: { kind: 'hibernated' } });
  });

  it('gives nothing away where two page sizes have a signature', async () => {
    const path = await mkswap();
    await patch(path, 65536 - 10, Buffer.from('SWAPSPACE2'));
    await using device = await openRaw(path);
    const swap = await openSwap(device);
    expect(swap.state.kind).toBe('damaged');
    expect(swap.freeSpace().total).toBe(0n);
  });

  it('gives nothing away of an area that is larger than its device', async () => {
    const path = await mkswap();
    await truncate(path, Number(size / 2n));
    await using device = await openRaw(path);
    const swap = await openSwap(device);
    expect(swap.state.kind).toBe('damaged');
    expect(swap.freeSpace().total).toBe(0n);
  });

  it('refuses a version other than 1, by name', async () => {
    const path = await mkswap();
    await patch(path, 1024, Uint8Array.of(7));
    await using device = await openRaw(path);
    await expect(openSwap(device)).rejects.toMatchObject({ code: 'CORRUPT', facts: { field: 'version', actual: 7 } });
  });

  it('refuses a last page of 0, by name', async () => {
    const path = await mkswap();
    await patch(path, 1028, new Uint8Array(4));
    await using device = await openRaw(path);
    await expect(openSwap(device)).rejects.toMatchObject({ code: 'CORRUPT', facts: { field: 'last_page' } });
  });

  it('does not take apart the kind without a header', async () => {
    const path = await mkswap();
    await patch(path, 4086, Buffer.from('SWAP-SPACE'));
    await using device = await openRaw(path);
    await expect(openSwap(device)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });

  test('refuses a device of zeros, of any size', async () => {
    for (const bytes of [0n, 1n, 4096n, size]) {
      await using device = memoryDevice(bytes);
      await expect(openSwap(device)).rejects.toMatchObject({ code: 'CORRUPT' });
    }
  });
});
