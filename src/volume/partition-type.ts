import { partitionTypes } from './gpt/on-disk.js';
import { osType } from './mbr/on-disk.js';

/** Whose a partition is, by its type alone. */
export type PartitionOwner = 'LDM' | 'storage-spaces';

const owners: Readonly<Record<string, PartitionOwner>> = {
  [`0x${osType.LDM.toString(16)}`]: 'LDM',
  [partitionTypes.LDM_METADATA]: 'LDM',
  [partitionTypes.LDM_DATA]: 'LDM',
  [partitionTypes.STORAGE_SPACES]: 'storage-spaces',
};

/**
 * Who keeps volumes of its own in partitions of this type, wherever it likes: what begins in one may go on in another,
 * and a filesystem that seems to be in it may be half of a mirror.
 *
 * @param type as {@link Partition.type} has it
 */
export function ownerOf(type: string): PartitionOwner | undefined {
  return owners[type];
}
