import type { BlockDevice, RequestOptions } from '../device/block-device.js';
import { readView } from '../device/read-view.js';
import { hasGpt, readGpt } from './gpt/gpt.js';
import { type BootRecord, type BootRecordEntry, readBootRecord } from './mbr/boot-record.js';
import { filesystemOfBootSector } from './mbr/boot-sector.js';
import { readMbrPartitions } from './mbr/mbr.js';
import { masterBootRecord, protectedFromLba } from './mbr/on-disk.js';
import { withProblems } from './overlap.js';
import type { PartitionTable, SectorSize } from './partition.js';
import { Warnings } from './warnings.js';

export type { Partition, PartitionTable, SectorSize } from './partition.js';

/**
 * Reads the partition table of a disk by Linux's rules: a GPT only where the MBR announces one, the primaries and
 * logical drives of an MBR as the kernel numbers them, no table where a filesystem begins in the first sector. The
 * sectors of an MBR are of 512 bytes, since it does not say.
 *
 * @throws {DiskError} CORRUPT when a table is there and unusable
 */
export async function readPartitionTable(device: BlockDevice, options: RequestOptions = {}): Promise<PartitionTable> {
  const { size } = device.facts;
  if (size < BigInt(masterBootRecord.size)) return none([]);
  const sector = await readView(device, 0n, masterBootRecord.size, options);
  const record = readBootRecord(sector, 512);
  if (record?.protective !== undefined) return asGpt(device, record, record.protective, options);
  const gpt = await hasGpt(device, options);
  const filesystem = filesystemOfBootSector(sector);

  if (record === undefined || !record.indicatorsAreSound) {
    if (!gpt) return none([]);
    return none(['a sound GPT is ignored, since no protective MBR announces it: gdisk can write one'], 'gpt');
  }
  if (filesystem !== undefined) {
    if (record.entries.length === 0) return none([], gpt ? 'gpt' : undefined);
    const warning = `the first sector is of a ${filesystem} filesystem and holds partitions too: they are ignored`;
    return none([warning], 'mbr');
  }
  return asMbr(device, record, gpt, options);
}

async function asGpt(
  device: BlockDevice,
  record: BootRecord,
  protective: BootRecordEntry,
  options: RequestOptions,
): Promise<PartitionTable> {
  const warnings = new Warnings();
  // The entry was read in sectors of 512 bytes; whatever their size is, their number is the same.
  const unit = BigInt(masterBootRecord.size);
  const protectedEnd = (sectorSize: SectorSize) => ((protective.start + protective.length) / unit) * BigInt(sectorSize);
  if (protective.start !== protectedFromLba * unit) {
    warnings.add(`the protective MBR entry starts at sector ${protective.start / unit}, not 1: Linux ignores this GPT`);
  }
  const gpt = await readGpt(device, protectedEnd, warnings, options);
  const partitions = withProblems(gpt.partitions, gpt.table, device.facts.size, warnings);
  const { sectorSize, diskGuid } = gpt;
  const hybrid = record.entries.some((entry) => entry.slot !== protective.slot);
  const list = warnings.list();
  return Object.freeze({ kind: 'gpt', sectorSize, uuid: diskGuid, partitions, own: gpt.table, hybrid, warnings: list });
}

async function asMbr(
  device: BlockDevice,
  record: BootRecord,
  gpt: boolean,
  options: RequestOptions,
): Promise<PartitionTable> {
  const warnings = new Warnings();
  if (gpt) warnings.add('a sound GPT is ignored, since the MBR beside it announces none');
  const found = await readMbrPartitions(device, record, 512, warnings, options);
  const partitions = withProblems(found.partitions, found.table, device.facts.size, warnings);
  return Object.freeze({
    kind: 'mbr',
    sectorSize: 512,
    uuid: record.diskSignature,
    partitions,
    own: found.table,
    hybrid: false,
    warnings: warnings.list(),
    ignored: gpt ? 'gpt' : undefined,
  });
}

function none(warnings: readonly string[], ignored?: PartitionTable['ignored']): PartitionTable {
  return Object.freeze({
    kind: 'none',
    sectorSize: 512,
    uuid: '',
    partitions: [],
    own: [],
    hybrid: false,
    warnings,
    ignored,
  });
}
