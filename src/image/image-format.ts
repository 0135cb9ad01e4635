import { min, toNumber } from '../binary/convert.js';
import { viewOf } from '../binary/layout.js';
import type { BlockDevice, RequestOptions } from '../device/block-device.js';
import { type HeadGuard, headGuard } from '../device/head-guard.js';
import { readView } from '../device/read-view.js';
import { imageHead, signatures, vhdCookie, vmdkDescriptorHead } from './on-disk.js';

/** The formats that QEMU reads for us, as it names them: `vpc` is VHD. */
const foreignFormats = ['vmdk', 'vdi', 'vpc', 'vhdx', 'qed', 'parallels', 'qcow', 'bochs', 'cloop', 'dmg'] as const;
export type ForeignFormat = (typeof foreignFormats)[number];

/** Those that QEMU writes for us too. Each such image is one file. */
export const createdFormats = [
  'vmdk',
  'vdi',
  'vpc',
  'vhdx',
  'qed',
  'parallels',
] as const satisfies readonly ForeignFormat[];
export type CreatedFormat = (typeof createdFormats)[number];

/** All formats that are read: the first two by ourselves. */
export const imageFormats = ['raw', 'qcow2', ...foreignFormats] as const;
export type ImageFormat = (typeof imageFormats)[number];

export function isImageFormat(name: string): name is ImageFormat {
  return imageFormats.some((format) => format === name);
}

export function isForeignFormat(name: string): name is ForeignFormat {
  return foreignFormats.some((format) => format === name);
}

/** The format of an image as QEMU names it (`qcow2`, `vmdk`), by its signature; `raw` when it has none. */
export async function detectImageFormat(device: BlockDevice): Promise<string> {
  const { size } = device.facts;
  const start = await readView(device, 0n, toNumber(min(size, BigInt(imageHead.size))));
  // Of a shorter file, the rest is zeros.
  const head = new Uint8Array(imageHead.size);
  head.set(new Uint8Array(start.buffer, start.byteOffset, start.byteLength));
  const view = imageHead.at(viewOf(head));
  const found = signatures.find(({ magic, field }) => Buffer.from(view[field]).toString('latin1').startsWith(magic));
  if (found !== undefined) return found.format;
  return vmdkDescriptorHead.test(Buffer.from(head).toString('latin1')) ? 'vmdk' : 'raw';
}

/** Whether the last 512 bytes of a file are a VHD footer. */
export async function endsAsVhd(file: BlockDevice, options: RequestOptions): Promise<boolean> {
  const { size, hostFile } = file.facts;
  if (hostFile === undefined || size < BigInt(imageHead.size)) return false;
  const end = await readView(file, size - BigInt(imageHead.size), imageHead.size, options);
  return Buffer.from(imageHead.at(end).magic).toString('latin1').startsWith(vhdCookie);
}

/** For a raw image that is written to and whose format was found out: its first bytes must stay those of none of these. */
export function formatGuard(): HeadGuard {
  return headGuard([
    ...signatures.map(({ format, magic, field }) => ({
      format,
      offset: imageHead.fields[field].offset,
      magic: Uint8Array.from(Buffer.from(magic, 'latin1')),
    })),
    { format: 'vmdk', text: vmdkDescriptorHead },
  ]);
}
