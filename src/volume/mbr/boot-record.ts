import type { SectorSize } from '../partition.js';
import {
  bootIndicator,
  masterBootRecord,
  mbrSignature,
  osType,
  partitionRecord,
  protectedFromLba,
  recordCount,
} from './on-disk.js';

/** One of the four records of a boot record. */
export interface BootRecordEntry {
  /** 1 to 4. */
  readonly slot: number;
  readonly bootable: boolean;
  readonly type: number;
  /** Whether it holds, or leads to, an extended boot record. */
  readonly extended: boolean;
  /** Bytes; from where depends on the record that it stands in. */
  readonly start: bigint;
  /** Bytes; 0 when the record is empty. */
  readonly length: bigint;
}

/** The checked facts of a master or extended boot record. */
export interface BootRecord {
  /** Eight hexadecimal digits; empty when nobody chose one. */
  readonly diskSignature: string;
  /** Each record is marked as active or inactive: text or code would be neither. */
  readonly indicatorsAreSound: boolean;
  /** Those that are not empty. */
  readonly entries: readonly BootRecordEntry[];
  /**
   * The entry that announces a GPT: Linux looks for one only behind it. Its length counts for nothing, nor do other
   * entries beside it (a hybrid MBR).
   */
  readonly protective?: BootRecordEntry | undefined;
}

const extendedTypes: ReadonlySet<number> = new Set([osType.EXTENDED, osType.EXTENDED_LBA, osType.EXTENDED_LINUX]);

/** Undefined when the sector is not signed as a boot record. */
export function readBootRecord(sector: DataView, sectorSize: SectorSize): BootRecord | undefined {
  const { Signature, UniqueMBRDiskSignature, PartitionRecord } = masterBootRecord.at(sector);
  if (Signature !== mbrSignature) return undefined;
  const { buffer, byteOffset, byteLength } = PartitionRecord;
  const records = new DataView(buffer, byteOffset, byteLength);
  const all: BootRecordEntry[] = [];
  let indicatorsAreSound = true;
  for (let i = 0; i < recordCount; i++) {
    const raw = partitionRecord.at(records, i * partitionRecord.size);
    const bootable = raw.BootIndicator === bootIndicator.active;
    if (!bootable && raw.BootIndicator !== bootIndicator.inactive) indicatorsAreSound = false;
    all.push({
      slot: i + 1,
      bootable,
      type: raw.OSType,
      extended: extendedTypes.has(raw.OSType),
      start: BigInt(raw.StartingLBA) * BigInt(sectorSize),
      length: BigInt(raw.SizeInLBA) * BigInt(sectorSize),
    });
  }
  return Object.freeze({
    diskSignature: UniqueMBRDiskSignature === 0 ? '' : UniqueMBRDiskSignature.toString(16).padStart(8, '0'),
    indicatorsAreSound,
    entries: Object.freeze(all.filter(({ length }) => length > 0n)),
    // Where the indicators are not sound, a stray byte of code could pass for the type: then the start has to fit too.
    protective: all.find(
      ({ type, start }) =>
        type === osType.GPT_PROTECTIVE && (indicatorsAreSound || start === protectedFromLba * BigInt(sectorSize)),
    ),
  });
}
