import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import {
  mostVhdxEntries,
  vhdxFileIdentifier,
  vhdxFileParameters,
  vhdxGuids,
  vhdxHasParent,
  vhdxMetadataEntry,
  vhdxMetadataTable,
  vhdxRegionEntry,
  vhdxRegionTable,
  vhdxRegionTables,
  vhdxTableSize,
} from './on-disk.js';
import { type Others, structureAt, wrongMagic } from './others.js';

/** Whether a VHDX image has a parent, by either of its region tables. */
export async function vhdxOthers(file: BlockDevice, options: RequestOptions): Promise<Others> {
  const { signature } = vhdxFileIdentifier.at(await structureAt(file, vhdxFileIdentifier, 0n, options));
  if (signature !== 'vhdxfile') {
    throw wrongMagic(file, vhdxFileIdentifier.name, 'signature', signature, 'vhdxfile');
  }
  for (const offset of vhdxRegionTables) {
    for (const region of await metadataRegions(file, offset, options)) {
      if (await hasParent(file, region, options)) return { parent: 'a parent' };
    }
  }
  return {};
}

/** Where the metadata are, by one region table; a copy that is no table says nothing. */
async function metadataRegions(file: BlockDevice, offset: bigint, options: RequestOptions): Promise<bigint[]> {
  const table = await structureAt(file, { name: vhdxRegionTable.name, size: vhdxTableSize }, offset, options);
  const { Signature: signature, EntryCount: count } = vhdxRegionTable.at(table);
  if (signature !== 'regi') return [];
  checkCount(file, vhdxRegionTable.name, offset, count);
  const regions: bigint[] = [];
  for (let i = 0; i < count; i++) {
    const entry = vhdxRegionEntry.at(table, vhdxRegionTable.size + i * vhdxRegionEntry.size);
    if (Buffer.from(entry.Guid).toString('hex') === vhdxGuids.metadataRegion) regions.push(entry.FileOffset);
  }
  return regions;
}

async function hasParent(file: BlockDevice, region: bigint, options: RequestOptions): Promise<boolean> {
  const table = await structureAt(file, { name: vhdxMetadataTable.name, size: vhdxTableSize }, region, options);
  const { Signature: signature, EntryCount: count } = vhdxMetadataTable.at(table);
  if (signature !== 'metadata') {
    throw wrongMagic(file, vhdxMetadataTable.name, 'Signature', signature, 'metadata');
  }
  checkCount(file, vhdxMetadataTable.name, region, count);
  for (let i = 0; i < count; i++) {
    const entry = vhdxMetadataEntry.at(table, vhdxMetadataTable.size + i * vhdxMetadataEntry.size);
    const id = Buffer.from(entry.ItemId).toString('hex');
    if (id === vhdxGuids.parentLocator) return true;
    if (id !== vhdxGuids.fileParameters) continue;
    const view = await structureAt(file, vhdxFileParameters, region + BigInt(entry.Offset), options);
    if ((vhdxFileParameters.at(view).Flags & vhdxHasParent) !== 0) return true;
  }
  return false;
}

function checkCount(file: BlockDevice, structure: string, offset: bigint, actual: number): void {
  if (actual <= mostVhdxEntries) return;
  const expected = `at most ${mostVhdxEntries}`;
  throw DiskError.corrupt({ structure, offset, device: file.name, field: 'EntryCount', actual, expected });
}
