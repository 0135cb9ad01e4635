import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { onTestFinished } from 'vitest';
import type { BlockDevice } from '../../src/device/block-device.js';
import { allocations } from '../../src/image/allocation.js';
import { openQcow2, type Qcow2Device, readQcow2Header } from '../../src/image/qcow2/qcow2.js';
import { run } from './run.js';
import { sourceDevice } from './source-device.js';

/** The image with the files that its header names: raw, unless it says that they are qcow2. Closed by the caller. */
export async function openChain(path: string, { snapshot }: { snapshot?: string } = {}): Promise<Qcow2Device> {
  const file = sourceDevice(path);
  const opened: BlockDevice[] = [file];
  try {
    const header = await readQcow2Header(file);
    const beside = (name: string) => resolve(dirname(path), name);
    let backing: BlockDevice | undefined;
    if (header.backingFile !== undefined) {
      const backingPath = beside(header.backingFile);
      backing = header.backingFormat === 'qcow2' ? await openChain(backingPath) : sourceDevice(backingPath);
      opened.push(backing);
    }
    const dataName = header.dataFile?.name;
    const dataFile = dataName === undefined ? undefined : sourceDevice(beside(dataName));
    if (dataFile !== undefined) opened.push(dataFile);
    return await openQcow2(file, { backing, dataFile, snapshot });
  } catch (error) {
    for (const device of opened) await device.close();
    throw error;
  }
}

/** All bytes of a device. */
export async function allBytes(device: BlockDevice): Promise<Buffer> {
  const bytes = Buffer.alloc(Number(device.facts.size), 0xee);
  await device.read(bytes, 0n);
  return bytes;
}

/** The disk as qemu-img converts it. */
export async function convertedBytes(path: string, snapshot?: string): Promise<Buffer> {
  const raw = `${path}.converted`;
  const which = snapshot === undefined ? [] : ['-l', snapshot];
  await run('qemu-img', ['convert', '-f', 'qcow2', ...which, '-O', 'raw', path, raw]);
  return await readFile(raw);
}

export interface PlainExtent {
  start: number;
  end: number;
  allocated: boolean;
  zero: boolean;
}

function join(extents: readonly PlainExtent[]): PlainExtent[] {
  const joined: PlainExtent[] = [];
  for (const extent of extents) {
    const last = joined.at(-1);
    if (last?.allocated === extent.allocated && last.zero === extent.zero) last.end = extent.end;
    else joined.push({ ...extent });
  }
  return joined;
}

/** The extents as qemu-img map tells them: its `data` says that they take room. Depth is left out, and they are joined. */
export async function mappedExtents(path: string): Promise<PlainExtent[]> {
  const text = await run('qemu-img', ['map', '-f', 'qcow2', '--output=json', path]);
  const map: { start: number; length: number; data: boolean; zero: boolean }[] = JSON.parse(text);
  // Of a disk without bytes, it tells one extent without bytes.
  const some = map.filter(({ length }) => length > 0);
  return join(some.map(({ start, length, data, zero }) => ({ start, end: start + length, allocated: data, zero })));
}

/** An entry of `qemu-img map --output=json`; `compressed` since QEMU 8.2. */
export interface MapEntry {
  start: number;
  length: number;
  depth: number;
  present: boolean;
  zero: boolean;
  data: boolean;
  offset?: number;
}

/** What qemu-img map says, but for what it says of a disk without bytes. */
export async function qemuMap(path: string, format = 'qcow2'): Promise<MapEntry[]> {
  const text = await run('qemu-img', ['map', '-f', format, '--output=json', path]);
  const entries: (MapEntry & { compressed?: boolean })[] = JSON.parse(text);
  return entries.filter(({ length }) => length > 0).map(({ compressed: _, ...entry }) => entry);
}

/** What the device tells of what stands where, in the same words. */
export async function ownMap(device: BlockDevice): Promise<MapEntry[]> {
  const entries: MapEntry[] = [];
  for await (const piece of allocations(device, { places: true, plain: true })) {
    const { offset, length, depth, present, zero, data, place } = piece;
    const where = place === undefined ? {} : { offset: Number(place) };
    entries.push({ start: Number(offset), length: Number(length), depth, present, zero, data, ...where });
  }
  return entries;
}

/** The extents as the device tells them. */
export async function ownExtents(device: BlockDevice): Promise<PlainExtent[]> {
  const extents: PlainExtent[] = [];
  for await (const { offset, length, allocated, zero } of device.extents()) {
    extents.push({ start: Number(offset), end: Number(offset + length), allocated, zero });
  }
  return extents;
}

/** Opens an image for the length of a test. */
export async function opened(path: string, options: { snapshot?: string } = {}): Promise<Qcow2Device> {
  const device = await openChain(path, options);
  onTestFinished(() => device.close());
  return device;
}

/** Runs commands of qemu-io on an image. */
export async function qemuIo(path: string, commands: readonly string[]): Promise<void> {
  if (commands.length === 0) return;
  await run('qemu-io', ['-f', 'qcow2', '-d', 'unmap', ...commands.flatMap((command) => ['-c', command]), path]);
}
