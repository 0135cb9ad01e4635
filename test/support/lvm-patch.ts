import { rawCrc32 } from '../../src/binary/crc.js';
import { viewOf } from '../../src/binary/layout.js';
import {
  diskLocation,
  initialCrc,
  labelHeader,
  lvmSector,
  mdaHeader,
  pvHeader,
  rawLocation,
} from '../../src/volume/lvm/on-disk.js';
import { change } from './partition-image.js';

/** Bytes at the start of a physical volume that hold its label, its first metadata area, and the text in that. */
export const headSize = 1024 * 1024;

/** Where the first metadata area begins, in bytes from the start of the physical volume. */
export function metadataArea(head: Uint8Array): number {
  const view = viewOf(head);
  const { offset_xl } = labelHeader.at(view, lvmSector);
  for (let at = lvmSector + offset_xl + pvHeader.size; ; at += diskLocation.size) {
    if (diskLocation.at(view, at).offset === 0n) return Number(diskLocation.at(view, at + diskLocation.size).offset);
  }
}

/** Makes the checksum of the label right again. */
export function sealLabel(head: Uint8Array): void {
  const label = head.subarray(lvmSector, 2 * lvmSector);
  const covered = label.subarray(labelHeader.fields.offset_xl.offset);
  labelHeader.put(viewOf(label), { crc_xl: rawCrc32(initialCrc, covered) });
}

/** Makes the checksum of the header of a metadata area right again. */
export function sealArea(head: Uint8Array, area: number): void {
  const header = head.subarray(area, area + mdaHeader.size);
  const covered = header.subarray(mdaHeader.fields.magic.offset);
  mdaHeader.put(viewOf(header), { checksum_xl: rawCrc32(initialCrc, covered) });
}

/** The text that counts. */
export function textOf(head: Uint8Array): string {
  const area = metadataArea(head);
  const { offset, size } = rawLocation.at(viewOf(head), area + mdaHeader.fields.raw_locns.offset);
  const start = area + Number(offset);
  return Buffer.from(head.subarray(start, start + Number(size) - 1)).toString('latin1');
}

/** Puts another text in its place, right behind the header, under right checksums. */
export function putText(head: Uint8Array, text: string): void {
  const area = metadataArea(head);
  const bytes = Buffer.from(`${text}\0`, 'latin1');
  head.set(bytes, area + mdaHeader.size);
  rawLocation.put(
    viewOf(head),
    {
      offset: BigInt(mdaHeader.size),
      size: BigInt(bytes.length),
      checksum: rawCrc32(initialCrc, bytes),
    },
    area + mdaHeader.fields.raw_locns.offset,
  );
  sealArea(head, area);
}

/** Changes the text of the physical volume that begins at a byte of an image. */
export function editText(image: string, start: number, edit: (text: string) => string): Promise<void> {
  return change(image, start, headSize, (head) => {
    putText(head, edit(textOf(head)));
  });
}
