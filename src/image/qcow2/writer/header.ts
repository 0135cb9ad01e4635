import { viewOf } from '../../../binary/layout.js';
import { DiskError } from '../../../error/disk-error.js';
import {
  compressionTypes,
  extensionTypes,
  featureName,
  headerExtension,
  incompatibleFeatures,
  magic,
  qcow2AdditionalFields,
  qcow2Header,
  qcow2Header3,
} from '../on-disk.js';
import { type Placed, refcountOrder } from './host-file.js';
import type { Qcow2Plan } from './plan.js';

const alignment = 8;
const longestFeatureName = featureName.fields.name.size;

export interface HeaderPlaces {
  readonly l1: Placed;
  readonly refcountTable: Placed;
}

/**
 * The header with its extensions and the name of the backing file: what the first cluster starts with.
 *
 * @throws {DiskError} USAGE when they do not fit into it
 */
export function encodeHeader(plan: Qcow2Plan, { l1, refcountTable }: HeaderPlaces): Uint8Array {
  const { clusterSize, backing, compression } = plan;
  const byteOffset = ({ first }: Placed) => BigInt(first) * BigInt(clusterSize);
  const compressionType = compression === 'none' ? 0 : compressionTypes.indexOf(compression);
  const headerLength = qcow2AdditionalFields.size;
  const fixed = new Uint8Array(headerLength);
  const view = viewOf(fixed);
  const name = Buffer.from(backing?.file ?? '');
  const extensions = encodeExtensions(plan, compressionType);
  const nameOffset = headerLength + extensions.length;
  if (nameOffset + name.length > clusterSize) {
    const room = clusterSize - nameOffset;
    const words = `the name of the backing file has ${name.length} bytes, where ${room} fit into the first cluster`;
    throw new DiskError('USAGE', `${words}: choose larger clusters, or a shorter name`);
  }
  qcow2Header.put(view, {
    magic,
    version: 3,
    backing_file_offset: backing === undefined ? 0n : BigInt(nameOffset),
    backing_file_size: name.length,
    cluster_bits: plan.clusterBits,
    size: plan.virtualSize,
    crypt_method: 0,
    l1_size: plan.l1Entries,
    l1_table_offset: byteOffset(l1),
    refcount_table_offset: byteOffset(refcountTable),
    refcount_table_clusters: refcountTable.count,
    nb_snapshots: 0,
    snapshots_offset: 0n,
  });
  qcow2Header3.put(view, {
    incompatible_features: compressionType === 0 ? 0n : BigInt(incompatibleFeatures.mask['compression type']),
    compatible_features: 0n,
    autoclear_features: 0n,
    refcount_order: refcountOrder,
    header_length: headerLength,
  });
  qcow2AdditionalFields.put(view, { compression_type: compressionType });
  return Buffer.concat([fixed, extensions, name]);
}

function encodeExtensions({ backing }: Qcow2Plan, compressionType: number): Uint8Array {
  const parts: Uint8Array[] = [];
  if (backing !== undefined) parts.push(extension(extensionTypes.backingFormat, Buffer.from(backing.format)));
  // So that programs older than it can say what they lack.
  if (compressionType !== 0) parts.push(extension(extensionTypes.featureNameTable, nameOfCompression()));
  parts.push(extension(extensionTypes.end, new Uint8Array(0)));
  return Buffer.concat(parts);
}

function extension(type: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(headerExtension.size + Math.ceil(data.length / alignment) * alignment);
  headerExtension.put(viewOf(bytes), { type, length: data.length });
  bytes.set(data, headerExtension.size);
  return bytes;
}

function nameOfCompression(): Uint8Array {
  const feature = 'compression type';
  const entry = new Uint8Array(featureName.size);
  const name = new Uint8Array(longestFeatureName);
  name.set(Buffer.from(feature));
  featureName.put(viewOf(entry), { type: 0, bit: Math.log2(incompatibleFeatures.mask[feature]), name });
  return entry;
}
