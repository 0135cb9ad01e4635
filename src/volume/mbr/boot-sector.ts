import { isPowerOfTwo } from '../../binary/bits.js';
import { biosParameterBlock, media } from './on-disk.js';

/**
 * The filesystem whose boot sector this is. Such a sector ends in the same two bytes as an MBR, and has code or text
 * where an MBR has its records: zeros there would pass for a table without partitions.
 */
export function filesystemOfBootSector(sector: DataView): 'FAT' | 'exFAT' | 'NTFS' | undefined {
  const bpb = biosParameterBlock.at(sector);
  if (bpb.BS_OEMName === 'NTFS    ') return 'NTFS';
  if (bpb.BS_OEMName === 'EXFAT   ') return 'exFAT';
  const named = /^FAT(12|16)? +$/.test(bpb.BS_FilSysType) || bpb.BS_FilSysType32 === 'FAT32   ';
  // A boot loader keeps the parameter block of what stood there before, so the name alone proves nothing.
  const sound =
    isPowerOfTwo(bpb.BPB_BytsPerSec) &&
    isPowerOfTwo(bpb.BPB_SecPerClus) &&
    bpb.BPB_RsvdSecCnt !== 0 &&
    bpb.BPB_NumFATs !== 0 &&
    isMedia(bpb.BPB_Media);
  return named && sound ? 'FAT' : undefined;
}

function isMedia(value: number): boolean {
  return value === media.removable || value >= media.firstFixed;
}
