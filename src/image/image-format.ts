import { viewOf } from '../binary/layout.js';
import type { BlockDevice } from '../device/block-device.js';
import { imageHead, signatures } from './on-disk.js';

/** The formats that we read ourselves, as QEMU names them. */
export const imageFormats = ['raw', 'qcow2'] as const;
export type ImageFormat = (typeof imageFormats)[number];

export function isImageFormat(name: string): name is ImageFormat {
  return imageFormats.some((format) => format === name);
}

/** The format of an image as QEMU names it (`qcow2`, `vmdk`), by its signature; `raw` when it has none. */
export async function detectImageFormat(device: BlockDevice): Promise<string> {
  if (device.facts.size < BigInt(imageHead.size)) return 'raw';
  const head = new Uint8Array(imageHead.size);
  await device.read(head, 0n);
  const view = imageHead.at(viewOf(head));
  const found = signatures.find(({ magic, field }) => Buffer.from(view[field]).toString('latin1').startsWith(magic));
  return found?.format ?? 'raw';
}
