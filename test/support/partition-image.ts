import { open as openPath } from 'node:fs';
import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from '@node-rs/crc32';
import { type Layout, viewOf } from '../../src/binary/layout.js';
import { FileDevice } from '../../src/device/file-device.js';
import { gptHeader } from '../../src/volume/gpt/on-disk.js';
import { type PartitionTable, readPartitionTable } from '../../src/volume/partition-table.js';
import { attempt, run } from './run.js';
import { temporaryFolder } from './temporary.js';

const openFd = promisify(openPath);
const mebibyte = 1024 * 1024;

/** Where the parts of the GPT of a {@link partitioned} image are, in bytes. */
export const gptPlaces = (() => {
  const size = 64 * mebibyte;
  const unit = 512;
  return { primary: unit, entries: 2 * unit, backup: size - unit, backupEntries: size - 33 * unit };
})();

/** Three partitions: 1, 2 and 5. */
export const gptScript =
  'label: gpt\nlabel-id: 0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9\n' +
  '2048,2048,U,\nstart=4096,size=8192,type=linux,name=root,attrs=LegacyBIOSBootable\n' +
  '5 : start=40960,size=2048,type=swap\n';

/** An image file with the table that a script of sfdisk describes; empty without one. */
export async function partitioned(script = '', size = 64 * mebibyte): Promise<string> {
  const path = join(await temporaryFolder(), 'a.img');
  await writeFile(path, '');
  await truncate(path, size);
  if (script !== '')
    await run('sfdisk', ['--quiet', path], { stdin: 'pipe', input: script, env: { LC_ALL: 'C.UTF-8' } });
  return path;
}

/** What disktool makes of the table of a file. */
export async function readTable(path: string): Promise<PartitionTable> {
  const fd = await openFd(path, 'r');
  const file = await open(path);
  const { size } = await file.stat({ bigint: true });
  await file.close();
  await using device = new FileDevice(fd, { name: path, size, writable: false, blockSize: 4096 });
  return await readPartitionTable(device);
}

/** The same partitions as libblkid sees them, which follows the kernel: none when it finds no table. `partx` prints sectors of 512 bytes always. */
export async function partx(path: string, sectorSize = 512): Promise<Record<string, string>[]> {
  const columns = 'NR,START,SECTORS,TYPE,UUID,NAME';
  const args = ['-S', `${sectorSize}`, '-g', '-b', '-P', '-o', columns, path];
  const { status, stdout, stderr } = await attempt('partx', args);
  if (status !== 0 && !stderr.includes('failed to read partition table')) throw new Error(stderr);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Object.fromEntries([...line.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value])));
}

/** Our table in the words of {@link partx}. */
export function asPartx({ partitions }: PartitionTable): Record<string, string>[] {
  return partitions.map(({ number, offset, length, type, uuid, name }) => ({
    NR: `${number}`,
    START: `${offset / 512n}`,
    SECTORS: `${length / 512n}`,
    TYPE: type,
    UUID: uuid,
    NAME: name,
  }));
}

/** Changes bytes of a file where they lie. */
export async function change(
  path: string,
  offset: number,
  length: number,
  edit: (bytes: Uint8Array) => void,
): Promise<void> {
  const file = await open(path, 'r+');
  const bytes = new Uint8Array(length);
  await file.read(bytes, 0, length, offset);
  edit(bytes);
  await file.write(bytes, 0, length, offset);
  await file.close();
}

type Values<L> = L extends { put(view: DataView, values: infer V, base?: number): void } ? V : never;

/** Changes fields of one structure of a file. */
export function patch<L extends Pick<Layout<never>, 'size'> & { put(view: DataView, values: Values<L>): void }>(
  path: string,
  offset: number,
  structure: L,
  values: Values<L>,
): Promise<void> {
  return change(path, offset, structure.size, (bytes) => structure.put(viewOf(bytes), values));
}

/** Makes the checksums of a GPT copy right again, so that only the changed field is wrong. */
export async function seal(path: string, header: number, sectorSize = 512): Promise<void> {
  let entries = { offset: 0, length: 0 };
  await change(path, header, gptHeader.size, (bytes) => {
    const raw = gptHeader.at(viewOf(bytes));
    entries = {
      offset: Number(raw.PartitionEntryLBA) * sectorSize,
      length: raw.NumberOfPartitionEntries * raw.SizeOfPartitionEntry,
    };
  });
  let checksum = 0;
  // A length that is itself what is wrong has no checksum to make right.
  if (entries.length <= mebibyte) {
    await change(path, entries.offset, entries.length, (bytes) => {
      checksum = crc32(bytes);
    });
  }
  await patch(path, header, gptHeader, { PartitionEntryArrayCRC32: checksum });
  await sealHeader(path, header);
}

/** Makes the checksum of a header right again, and leaves its entries alone. */
export function sealHeader(path: string, header: number): Promise<void> {
  return change(path, header, gptHeader.size, (bytes) => {
    gptHeader.put(viewOf(bytes), { HeaderCRC32: 0 });
    gptHeader.put(viewOf(bytes), { HeaderCRC32: crc32(bytes) });
  });
}
