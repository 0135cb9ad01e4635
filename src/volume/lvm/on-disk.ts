import { ascii, bytes, layout, u32, u64 } from '../../binary/layout.js';

/**
 * What LVM2 keeps in binary form on a physical volume: a label in one of its first four sectors, and the header of each
 * metadata area. What the volumes are is text, in a ring buffer behind the latter.
 * LVM2 sources: lib/label/label.h, lib/format_text/layout.h; pvck(8), "--dump headers".
 */
const little = (size: number, spec: string) => ({ size, endian: 'little', spec }) as const;

/** Bytes: the unit of all that LVM2 counts in sectors, whatever the device has. */
export const lvmSector = 512;
/** A label stands in one of that many sectors. */
export const labelSectors = 4;

export const labelHeader = layout('LVM2 label', little(32, 'LVM2 lib/label/label.h, label_header'), {
  id: ascii(0, 8, 'magic', 'LABELONE'),
  sector_xl: u64(8, 'sectors', 'where this label stands'),
  crc_xl: u32(16, 'crc32', 'of the rest of the sector, from the next field on'),
  offset_xl: u32(20, 'bytes', 'from the label to the header of the physical volume'),
  type: ascii(24, 8, 'magic', 'LVM2 001'),
});
export const labelId = 'LABELONE';
export const labelType = 'LVM2 001';

/** Followed by a list of data areas and one of metadata areas, each ended by an empty entry, then the extension. */
export const pvHeader = layout('LVM2 PV header', little(40, 'LVM2 lib/format_text/layout.h, pv_header'), {
  pv_uuid: ascii(0, 32, 'text', 'letters and digits without their dashes'),
  device_size_xl: u64(32, 'bytes', 'of the device'),
});

export const diskLocation = layout('LVM2 disk area', little(16, 'LVM2 lib/format_text/format-text.h, disk_locn'), {
  offset: u64(0, 'bytes', 'from the start of the device; 0 ends a list'),
  size: u64(8, 'bytes', '0 in a data area: up to the end'),
});

/** Followed by a list of areas for boot loaders. */
export const pvHeaderExtension = layout(
  'LVM2 PV header extension',
  little(8, 'LVM2 lib/format_text/layout.h, pv_header_extension'),
  {
    version: u32(0, 'number', '0: there is none'),
    flags: u32(4, 'flags', 'PV_EXT_USED: a volume group has it'),
  },
);
export const extensionVersion = { none: 0, newest: 2 } as const;
export const pvExtUsed = 1;

export const mdaHeader = layout('LVM2 metadata area header', little(512, 'LVM2 lib/format_text/layout.h, mda_header'), {
  checksum_xl: u32(0, 'crc32', 'of the rest of the sector'),
  magic: ascii(4, 16, 'magic', ' LVM2 x[5A%r0N*>'),
  version: u32(20, 'number', '1'),
  start: u64(24, 'bytes', 'where this header stands on the device'),
  size: u64(32, 'bytes', 'of the area, with this header'),
  raw_locns: bytes(
    40,
    472,
    'list',
    'where the text is; the first is what counts, the second a change that is under way',
  ),
});
export const mdaMagic = ' LVM2 x[5A%r0N*>';
export const mdaVersion = 1;

export const rawLocation = layout('LVM2 text location', little(24, 'LVM2 lib/format_text/layout.h, raw_locn'), {
  offset: u64(0, 'bytes', 'from the start of the metadata area; 0: no text'),
  size: u64(8, 'bytes', 'of the text, with the NUL at its end'),
  checksum: u32(16, 'crc32', 'of the text'),
  flags: u32(20, 'flags', 'RAW_LOCN_IGNORED: the text is out of date'),
});
export const rawLocationIgnored = 1;

/** What every checksum starts from. LVM2 lib/misc/crc.h, INITIAL_CRC. */
export const initialCrc = 0xf597a6cf;

/** Bytes: longer text is not read; two thousand volumes take one MiB. */
export const textLimit = 4 * 1024 * 1024;
/** Bytes of text on one disk, all copies together, that are read. */
export const textsLimit = 4 * 1024 * 1024;
/** LVM2 has no more than one at each end. pvcreate(8), --metadatacopies. */
export const metadataAreasLimit = 2;
