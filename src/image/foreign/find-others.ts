import { isZero } from '../../binary/zeros.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import type { ForeignFormat } from '../image-format.js';
import {
  longestBackingName,
  parallelsHeader,
  parallelsMagics,
  qcow1Header,
  qcow1Magic,
  qedBackingFile,
  qedHeader,
  vdiHeader,
  vdiSignature,
  vdiTypes,
} from './on-disk.js';
import { type FindOthers, type Others, structureAt, textAt, wrongMagic } from './others.js';
import { vhdOthers } from './vhd.js';
import { vhdxOthers } from './vhdx.js';
import { vmdkOthers } from './vmdk.js';

/** How each format is looked at before QEMU is. Those without a way to name another file only need QEMU. */
export const findOthers: Readonly<Record<ForeignFormat, FindOthers>> = {
  vmdk: vmdkOthers,
  vdi: vdiOthers,
  vpc: vhdOthers,
  vhdx: vhdxOthers,
  qed: qedOthers,
  parallels: parallelsOthers,
  qcow: qcow1Others,
  bochs: () => Promise.resolve({}),
  cloop: () => Promise.resolve({}),
  dmg: () => Promise.resolve({}),
};

/** A differencing image knows what it stands on by its UUID alone. */
async function vdiOthers(file: BlockDevice, options: RequestOptions): Promise<Others> {
  const header = vdiHeader.at(await structureAt(file, vdiHeader, 0n, options));
  if (header.signature !== vdiSignature) {
    throw wrongMagic(file, vdiHeader.name, 'signature', header.signature.toString(16), vdiSignature.toString(16));
  }
  const { image_type: type, uuid_link: link, uuid_parent: parent } = header;
  const { offset_data: data, blocks_allocated: blocks, block_size: block } = header;
  // QEMU reads zeros behind the end of a file that was cut short, and its check looks past that.
  const end = BigInt(data) + BigInt(blocks) * BigInt(block);
  if (end > file.facts.size) {
    const [actual, expected] = [`data up to byte ${end}`, `inside the file of ${file.facts.size} bytes`];
    throw DiskError.corrupt({
      structure: vdiHeader.name,
      offset: 0n,
      device: file.name,
      field: 'blocks_allocated',
      actual,
      expected,
    });
  }
  const whole = type === vdiTypes.dynamic || type === vdiTypes.fixed;
  return { parent: whole && isZero(link) && isZero(parent) ? undefined : 'a parent' };
}

async function qedOthers(file: BlockDevice, options: RequestOptions): Promise<Others> {
  const { magic, features, ...header } = qedHeader.values(await structureAt(file, qedHeader, 0n, options));
  if (magic !== 'QED') throw wrongMagic(file, qedHeader.name, 'magic', magic, 'QED');
  const { backing_filename_offset: offset, backing_filename_size: size } = header;
  const named = (BigInt.asUintN(32, features) & BigInt(qedBackingFile)) !== 0n;
  return { parent: named || size !== 0 ? await backingName(file, BigInt(offset), size, options) : undefined };
}

async function parallelsOthers(file: BlockDevice, options: RequestOptions): Promise<Others> {
  const { magic } = parallelsHeader.at(await structureAt(file, parallelsHeader, 0n, options));
  if (!parallelsMagics.some((known) => known === magic)) {
    throw wrongMagic(file, parallelsHeader.name, 'magic', magic, parallelsMagics[0]);
  }
  return {};
}

async function qcow1Others(file: BlockDevice, options: RequestOptions): Promise<Others> {
  const header = qcow1Header.at(await structureAt(file, qcow1Header, 0n, options));
  const { magic, version, backing_file_offset: offset, backing_file_size: size, crypt_method: encryption } = header;
  if (magic !== qcow1Magic) throw wrongMagic(file, qcow1Header.name, 'magic', magic, qcow1Magic);
  const place = { structure: qcow1Header.name, offset: 0n, device: file.name };
  if (version !== 1) throw DiskError.corrupt({ ...place, field: 'version', actual: version, expected: 1 });
  if (encryption !== 0) {
    throw DiskError.unsupported({ ...place, field: 'crypt_method', actual: encryption, expected: '0: no encryption' });
  }
  return { parent: offset === 0n ? undefined : await backingName(file, offset, size, options) };
}

async function backingName(file: BlockDevice, offset: bigint, size: number, options: RequestOptions): Promise<string> {
  const name = await textAt(file, offset, Math.min(size, longestBackingName), options);
  return name === '' ? 'a backing file' : name;
}
