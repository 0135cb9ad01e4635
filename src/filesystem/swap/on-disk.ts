import { ascii, bytes, layout, u32 } from '../../binary/layout.js';

/**
 * The swap area of Linux. Its first page begins with 1024 bytes for a boot loader, then this header, and ends with the
 * signature; so where the signature stands tells the page size of the machine that made it.
 * Linux, include/linux/swap.h, union swap_header; mkswap(8).
 */
const swapHeaderIn = (endian: 'little' | 'big') =>
  layout(
    'swap header',
    { size: 512, endian, spec: 'Linux include/linux/swap.h, union swap_header, info' },
    {
      version: u32(0, 'number', '1, in the byte order of the machine that made it'),
      last_page: u32(4, 'pages', 'the last page that may be used; the header is page 0'),
      nr_badpages: u32(8, 'count', 'pages that must not be used'),
      sws_uuid: bytes(12, 16, 'UUID', 'set by mkswap'),
      sws_volume: bytes(28, 16, 'text', 'the label, padded with NULs'),
      padding: bytes(44, 468, 'zeros', 'unused'),
    },
  );
export const swapHeader = swapHeaderIn('little');
export const swapHeaderSwapped = swapHeaderIn('big');
/** Bytes from the start of the device. */
export const swapHeaderOffset = 1024;
export const swapVersion = 1;

export const swapSignatureSize = 10;
/** Its last bytes hold the signature. */
export const swapSignature = layout(
  'swap signature',
  { size: swapSignatureSize, endian: 'little', spec: 'Linux include/linux/swap.h, union swap_header, magic' },
  { magic: ascii(0, 10, 'text', 'the kind of swap area') },
);

/** Every page size of a Linux machine, in bytes. */
export const swapPageSizes = [4096, 8192, 16384, 32768, 65536] as const;

/** A swap area that swapon takes. */
export const swapMagic = 'SWAPSPACE2';
/** A swap area of Linux before 2.1.117: a bitmap in its first page, no header. */
export const oldSwapMagic = 'SWAP-SPACE';
/** A hibernation image is in the area: by the kernel, by µswsusp, and by old kernels. */
export const hibernationMagics = ['S1SUSPEND', 'S2SUSPEND', 'ULSUSPEND', 'LINHIB0001'] as const;
/** TuxOnIce writes its signature over the first bytes of the device, and leaves the swap signature be. */
export const tuxOnIceMagic = Uint8Array.of(0xed, 0xc3, 0x02, 0xe9, 0x98, 0x56, 0xe5, 0x0c);
