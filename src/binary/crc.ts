import { crc32, crc32c } from '@node-rs/crc32';

/**
 * crc32c as the kernel's filesystems keep it: neither started from the complement nor complemented at the end, so that
 * checksums chain by passing one as the seed of the next.
 */
export function rawCrc32c(seed: number, bytes: Uint8Array): number {
  return ~crc32c(bytes, ~seed >>> 0) >>> 0;
}

const crc32BeTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let i = 0; i < 8; i++) crc = crc < 0 ? (crc << 1) ^ 0x04c1_1db7 : crc << 1;
  return crc;
});

/** The crc32 of Ethernet with the highest bit first, not complemented, continued from `seed`: the kernel's crc32_be. */
export function crc32Be(seed: number, bytes: Uint8Array): number {
  let crc = seed;
  for (const byte of bytes) crc = (crc << 8) ^ (crc32BeTable[(crc >>> 24) ^ byte] ?? 0);
  return crc >>> 0;
}

/** crc32 (polynomial 0x04c11db7, reflected) in the same way: as LVM2 keeps it. */
export function rawCrc32(seed: number, bytes: Uint8Array): number {
  return ~crc32(bytes, ~seed >>> 0) >>> 0;
}

const crc16Table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1;
  return crc;
});

/** CRC-16/ARC (polynomial 0x8005, reflected), continued from `seed`: the kernel's lib/crc16.c. */
export function crc16(seed: number, bytes: Uint8Array): number {
  let crc = seed;
  for (const byte of bytes) crc = (crc >>> 8) ^ (crc16Table[(crc ^ byte) & 0xff] ?? 0);
  return crc;
}
