import type { Range } from '../binary/range-set.js';

/** One entry of a partition table, as the table has it: nothing of it is cut to fit the disk. */
export interface Partition {
  /** As Linux counts: the entry's place in a GPT, 1 to 4 for the primaries of an MBR, from 5 on for logical drives. */
  readonly number: number;
  /** Bytes from the start of the disk. */
  readonly offset: bigint;
  /** Bytes; `offset + length` is at most 2^63 - 1, and with `past-end` more than the disk's size. */
  readonly length: bigint;
  /** As blkid spells PART_ENTRY_TYPE: `0x83`, or a GPT type GUID in lower case. */
  readonly type: string;
  /** Of a GPT entry; empty when there is none. */
  readonly name: string;
  /** The PARTUUID as blkid spells it; empty on an MBR without a disk signature. */
  readonly uuid: string;
  readonly bootable: boolean;
  readonly role: 'primary' | 'logical' | 'extended';
  /** Why nothing may be changed in it: it shares bytes with another or with the table, or passes the end of the disk. */
  readonly problem?: 'overlaps' | 'past-end' | undefined;
}

export interface PartitionTable {
  readonly kind: 'gpt' | 'mbr' | 'none';
  /** Bytes: the unit of the table's addresses. */
  readonly sectorSize: SectorSize;
  /** The disk GUID, or the eight digits of an MBR's disk signature; empty when there is none. */
  readonly uuid: string;
  /** In the order of their numbers. */
  readonly partitions: readonly Partition[];
  /** The bytes that the table itself takes: boot records, headers, entries. */
  readonly own: readonly Range[];
  /** A GPT whose MBR has partitions of its own as well, which Linux does not look at. */
  readonly hybrid: boolean;
  /** What is odd about the table, a sentence each, without the disk's name. */
  readonly warnings: readonly string[];
  /**
   * A sound table of this kind lies on the disk and is not the one that counts. What stands on the disk as a whole is
   * then ambiguous when `kind` is `none`: nothing may be changed in it.
   */
  readonly ignored?: 'gpt' | 'mbr' | undefined;
}

/** Bytes: the two sizes of logical sector that disks have. */
export type SectorSize = 512 | 4096;
