import { bytes, layout } from '../binary/layout.js';

/** Where image formats keep what they are known by: the start of the file. */
export const imageHead = layout(
  'image head',
  { size: 512, endian: 'little', spec: 'QEMU block/*.c, *_probe; each format in its own specification' },
  {
    magic: bytes(0, 64, '', 'of all but VDI'),
    vdiMagic: bytes(64, 4, '', 'VDI: text comes first'),
  },
);

/** At the start of a VHD image; of a fixed one, at the start of its last 512 bytes. */
export const vhdCookie = 'conectix';

interface Signature {
  readonly format: string;
  /** One byte a character. */
  readonly magic: string;
  readonly field: 'magic' | 'vdiMagic';
}

/** What each format starts with; longer signatures first where one starts another. */
export const signatures: readonly Signature[] = [
  { format: 'qcow', magic: 'QFI\xfb\x00\x00\x00\x01', field: 'magic' },
  { format: 'qcow2', magic: 'QFI\xfb', field: 'magic' },
  { format: 'qed', magic: 'QED\x00', field: 'magic' },
  { format: 'vmdk', magic: 'KDMV', field: 'magic' },
  { format: 'vmdk', magic: 'COWD', field: 'magic' },
  { format: 'vmdk', magic: '# Disk DescriptorFile', field: 'magic' },
  { format: 'vdi', magic: '\x7f\x10\xda\xbe', field: 'vdiMagic' },
  { format: 'vhdx', magic: 'vhdxfile', field: 'magic' },
  { format: 'vpc', magic: vhdCookie, field: 'magic' },
  { format: 'parallels', magic: 'WithoutFreeSpace', field: 'magic' },
  { format: 'parallels', magic: 'WithouFreSpacExt', field: 'magic' },
  { format: 'bochs', magic: 'Bochs Virtual HD Image', field: 'magic' },
];

/**
 * A VMDK descriptor is text: comments and blank lines first, then its version. VMware's own starts with a comment that is
 * a signature by itself.
 *
 * @see QEMU block/vmdk.c, vmdk_probe
 */
export const vmdkDescriptorHead = /^(?:#[^\n]*\n| +\r?\n)*version=[123]\r?\n/;
