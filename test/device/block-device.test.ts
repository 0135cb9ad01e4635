import { expect, test } from 'vitest';
import { BlockDevice, type DeviceFacts, type WriteOptions, type ZeroOptions } from '../../src/device/block-device.js';
import type { Extent } from '../../src/device/extent.js';
import { DiskError } from '../../src/error/disk-error.js';

const facts: DeviceFacts = {
  size: 100_000n,
  writable: true,
  flush: true,
  trim: true,
  zero: 'emulated',
  fastZero: false,
  fua: 'emulated',
  extents: true,
  blockSize: { minimum: 1, preferred: 1000, maximum: 1000 },
};

/** Notes what the gate lets through. */
class Recorder extends BlockDevice {
  readonly name = 'recorder';
  readonly facts: DeviceFacts;
  readonly seen: string[] = [];
  batches: Extent[][] = [];
  zeroFailure: DiskError | undefined;
  onWrite: (() => void) | undefined;

  constructor(changes: Partial<DeviceFacts> = {}) {
    super();
    this.facts = { ...facts, ...changes };
  }

  protected async doRead(into: Uint8Array, offset: bigint): Promise<void> {
    this.seen.push(`read ${offset}+${into.length}`);
  }
  protected async doWrite(from: Uint8Array, offset: bigint, { fua }: WriteOptions): Promise<void> {
    this.seen.push(`write ${offset}+${from.length}${fua === true ? ' fua' : ''}`);
    this.onWrite?.();
  }
  protected async doZero(offset: bigint, length: bigint, { fua, fast, mayTrim }: ZeroOptions): Promise<void> {
    const flags = [fua === true && 'fua', fast === true && 'fast', mayTrim === true && 'mayTrim'].filter(Boolean);
    this.seen.push(['zero', `${offset}+${length}`, ...flags].join(' '));
    if (this.zeroFailure !== undefined) throw this.zeroFailure;
  }
  protected async doTrim(offset: bigint, length: bigint): Promise<void> {
    this.seen.push(`trim ${offset}+${length}`);
  }
  protected async doFlush(): Promise<void> {
    this.seen.push('flush');
  }
  protected async doExtents(): Promise<readonly Extent[]> {
    return this.batches.shift() ?? [];
  }
  protected doPeek(): undefined {
    return undefined;
  }
  protected async doClose(): Promise<void> {
    this.seen.push('close');
  }
}

const data = (offset: bigint, length: bigint): Extent => ({ offset, length, allocated: true, zero: false });
const hole = (offset: bigint, length: bigint): Extent => ({ offset, length, allocated: false, zero: true });

async function extentsOf(device: BlockDevice, offset?: bigint, length?: bigint): Promise<Extent[]> {
  const extents: Extent[] = [];
  for await (const extent of device.extents(offset, length)) extents.push(extent);
  return extents;
}

test('splits to the largest request, and flushes once for FUA that it emulates', async () => {
  const device = new Recorder();
  await device.write(new Uint8Array(2500), 7n, { fua: true });
  await device.read(new Uint8Array(1001), 0n);
  expect(device.seen).toEqual([
    'write 7+1000',
    'write 1007+1000',
    'write 2007+500',
    'flush',
    'read 0+1000',
    'read 1000+1',
  ]);
});

test('passes FUA on where the device does it, and to each piece', async () => {
  const device = new Recorder({ fua: 'native' });
  await device.write(new Uint8Array(1500), 0n, { fua: true });
  expect(device.seen).toEqual(['write 0+1000 fua', 'write 1000+500 fua']);
});

test('refuses FUA before anything is written where nothing can make it durable', async () => {
  for (const changes of [{ fua: 'none' }, { fua: 'emulated', flush: false }] as const) {
    const device = new Recorder(changes);
    const refused = { code: 'UNSUPPORTED', errno: 'EOPNOTSUPP' };
    await expect(device.write(new Uint8Array(1), 0n, { fua: true })).rejects.toMatchObject(refused);
    await expect(device.zero(0n, 1n, { fua: true })).rejects.toMatchObject(refused);
    await expect(device.trim(0n, 1n, { fua: true })).rejects.toMatchObject(refused);
    expect(device.seen).toEqual([]);
  }
});

test('writes zeros where the device cannot zero, but never under fast', async () => {
  const device = new Recorder();
  await device.zero(5n, 1500n, { fua: true });
  expect(device.seen).toEqual(['write 5+1000', 'write 1005+500', 'flush']);
  await expect(device.zero(0n, 1n, { fast: true })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  expect(device.seen).toHaveLength(3);
});

test('never asks for a fast zero of a device that has none: some servers die of it', async () => {
  const device = new Recorder({ zero: 'native', fastZero: false });
  await expect(device.zero(0n, 1n, { fast: true })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  expect(device.seen).toEqual([]);
});

test('writes zeros where zeroing turns out unsupported, and hands on any other failure', async () => {
  const device = new Recorder({ zero: 'native', fastZero: true });
  device.zeroFailure = new DiskError('UNSUPPORTED', 'no');
  await device.zero(0n, 10n, { mayTrim: true });
  expect(device.seen).toEqual(['zero 0+10 mayTrim', 'write 0+10']);
  await expect(device.zero(0n, 10n, { fast: true })).rejects.toBe(device.zeroFailure);
  device.zeroFailure = new DiskError('IO', 'broken');
  await expect(device.zero(0n, 10n)).rejects.toBe(device.zeroFailure);
  expect(device.seen).toHaveLength(4);
});

test('refuses to zero, to trim and to flush what cannot', async () => {
  const device = new Recorder({ zero: 'none', trim: false, flush: false });
  await expect(device.zero(0n, 1n)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await expect(device.trim(0n, 1n)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await expect(device.flush()).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  expect(device.seen).toEqual([]);
});

test('refuses what is not a multiple of the smallest request, but at the very end', async () => {
  const device = new Recorder({ size: 1300n, blockSize: { minimum: 512, preferred: 512, maximum: 1024 } });
  await expect(device.read(new Uint8Array(512), 1n)).rejects.toMatchObject({ code: 'USAGE', errno: 'EINVAL' });
  await expect(device.write(new Uint8Array(511), 0n)).rejects.toMatchObject({ code: 'USAGE' });
  await device.write(new Uint8Array(276), 1024n);
  await device.write(new Uint8Array(1300), 0n);
  expect(device.seen).toEqual(['write 1024+276', 'write 0+1024', 'write 1024+276']);
});

test('sends no further piece to a device that is closed, or after the signal', async () => {
  const closed = new Recorder();
  closed.onWrite = () => void closed.close();
  await expect(closed.write(new Uint8Array(5000), 0n)).rejects.toMatchObject({ code: 'IO', errno: 'EBADF' });
  expect(closed.seen).toEqual(['write 0+1000', 'close']);

  const zeroed = new Recorder();
  zeroed.onWrite = () => void zeroed.close();
  await expect(zeroed.zero(0n, 5000n)).rejects.toMatchObject({ errno: 'EBADF' });
  expect(zeroed.seen).toEqual(['write 0+1000', 'close']);

  const aborted = new Recorder();
  const controller = new AbortController();
  aborted.onWrite = () => controller.abort(new Error('enough'));
  const write = aborted.write(new Uint8Array(5000), 0n, { signal: controller.signal });
  await expect(write).rejects.toMatchObject({ code: 'CANCELLED', cause: { message: 'enough' } });
  expect(aborted.seen).toEqual(['write 0+1000']);
});

test('joins, clips and tiles what batches of extents say', async () => {
  const device = new Recorder();
  device.batches = [[data(0n, 20n), data(20n, 10n)], [data(30n, 10n), hole(40n, 10n)], [hole(50n, 1000n)]];
  expect(await extentsOf(device, 5n, 60n)).toEqual([data(5n, 35n), hole(40n, 25n)]);
});

test('asks again after a gap, and never takes what is out of order', async () => {
  const device = new Recorder();
  device.batches = [[data(0n, 10n), hole(20n, 10n)], [hole(10n, 90n)]];
  expect(await extentsOf(device, 0n, 100n)).toEqual([data(0n, 10n), hole(10n, 90n)]);
});

test.each([
  ['nothing', []],
  ['nothing at the place', [hole(50n, 10n)]],
  ['an empty extent', [hole(0n, 0n)]],
  ['one that runs backwards', [hole(10n, -10n)]],
])('ends with an error when a device reports %s', async (_, batch) => {
  const device = new Recorder();
  device.batches = [batch];
  await expect(extentsOf(device, 0n, 100n)).rejects.toMatchObject({ code: 'IO' });
});

test('calls everything data where the device knows no extents', async () => {
  expect(await extentsOf(new Recorder({ extents: false }))).toEqual([data(0n, 100_000n)]);
});
