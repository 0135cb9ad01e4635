import { min, toNumber } from '../../binary/convert.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import { type Extensions, readExtensions } from './extensions.js';
import { featureNames, unknownFeatures } from './features.js';
import { checkL1, type L1Place } from './l1-place.js';
import {
  autoclearFeatures,
  compatibleFeatures,
  compressionTypes,
  cryptMethods,
  headerLength2,
  incompatibleFeatures,
  largestClusterBits,
  largestRefcountOrder,
  longestBackingFile,
  magic,
  mostSnapshots,
  qcow2AdditionalFields,
  qcow2Header,
  qcow2Header3,
  refcountOrder2,
  smallestClusterBits,
  smallestExtendedClusterBits,
  smallestHeaderLength3,
  snapshotEntry,
} from './on-disk.js';
import { nameText } from './text.js';

/** The checked facts of a qcow2 image; nothing has been opened for them. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  /** Bytes of the virtual disk. */
  readonly size: bigint;
  /** Bytes: a power of two from 512 to 2 MiB. */
  readonly clusterSize: number;
  readonly refcountBits: number;
  /** As it stands there: relative to the image's folder, or a URI, or QEMU's json: notation. */
  readonly backingFile: string | undefined;
  /** As QEMU names it. Without it the backing file's format would have to be guessed. */
  readonly backingFormat: string | undefined;
  /** Of an image whose clusters lie in a file of their own; `raw`: that file alone is the whole disk as well. */
  readonly dataFile: { readonly name: string | undefined; readonly raw: boolean } | undefined;
  readonly encryption: (typeof cryptMethods)[number];
  readonly compression: (typeof compressionTypes)[number];
  /** Each cluster in 32 subclusters. */
  readonly extendedL2: boolean;
  readonly lazyRefcounts: boolean;
  /** Its refcounts may be out of date: no matter for reading. */
  readonly dirty: boolean;
  /** QEMU has found it damaged, and no longer writes to it. */
  readonly corrupt: boolean;
  readonly snapshotCount: number;
  /** Persistent bitmaps, as far as they are consistent. */
  readonly bitmapCount: number;
  /** By their names: ours, else those of its feature name table, else `bit 17`. */
  readonly features: {
    readonly incompatible: readonly string[];
    readonly compatible: readonly string[];
    readonly autoclear: readonly string[];
  };
  /** Where the tables lie in the file. */
  readonly places: {
    readonly l1: L1Place;
    /** Not checked: reading does without it. */
    readonly refcounts: { readonly offset: bigint; readonly clusters: number };
    readonly snapshots: bigint;
  };
}

/** Bytes: the header with every field that is known. */
const wholeHeader = 112;
const largestSize = 2n ** 63n - 1n;

/**
 * Reads and checks the header of an image, so that its backing and its data file can be decided on.
 *
 * @throws {DiskError} CORRUPT with the field that is wrong; UNSUPPORTED for versions, features and sizes
 */
export async function readQcow2Header(file: BlockDevice, options: RequestOptions = {}): Promise<Qcow2Header> {
  const place: Place = { structure: qcow2Header.name, offset: 0n, device: file.name };
  const fileSize = file.facts.size;
  if (fileSize < BigInt(qcow2Header.size)) {
    throw DiskError.corrupt({ ...place, field: 'file size', actual: fileSize, expected: `at least ${headerLength2}` });
  }
  // What lies behind the end of the file counts as zeros, and as absent where that matters.
  const head = new DataView(new ArrayBuffer(wholeHeader));
  const there = await readView(file, 0n, toNumber(min(fileSize, BigInt(wholeHeader))), options);
  for (let i = 0; i < there.byteLength; i++) head.setUint8(i, there.getUint8(i));

  const raw = qcow2Header.at(head);
  const corrupt = (field: string, actual: Place['actual'], expected: Place['expected']) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  const unsupported = (field: string, actual: Place['actual'], expected: Place['expected']) =>
    DiskError.unsupported({ ...place, field, actual, expected });

  if (raw.magic !== magic) {
    const message = `${file.name}: is no qcow2 image, by its first bytes: disktool info says what it is`;
    throw new DiskError('CORRUPT', message, { ...place, field: 'magic', actual: JSON.stringify(raw.magic) });
  }
  const { version } = raw;
  if (version !== 2 && version !== 3) throw unsupported('version', version, '2 or 3');
  if (raw.cluster_bits < smallestClusterBits) {
    throw corrupt('cluster_bits', raw.cluster_bits, `${smallestClusterBits} to ${largestClusterBits}`);
  }
  if (raw.cluster_bits > largestClusterBits) {
    throw unsupported('cluster_bits', raw.cluster_bits, `${smallestClusterBits} to ${largestClusterBits}`);
  }
  const clusterSize = 2 ** raw.cluster_bits;

  const third = version === 3 ? readThird(head, clusterSize, fileSize, corrupt) : undefined;
  const extensionsEnd = checkBackingFile(raw, clusterSize, fileSize, corrupt);
  const firstCluster = await readView(file, 0n, toNumber(min(fileSize, BigInt(clusterSize))), options);
  const extensions = readExtensions(firstCluster, third?.length ?? headerLength2, extensionsEnd, file.name);

  const { incompatible = 0n, compatible = 0n, autoclear = 0n } = third ?? {};
  const unknown = unknownFeatures(incompatible, incompatibleFeatures, extensions.featureNames.incompatible);
  if (unknown.length > 0) {
    throw unsupported('incompatible_features', unknown.join(', '), 'none of those: a newer program made this image');
  }
  const has = (name: Parameters<typeof incompatibleFeatures.has>[1]) =>
    incompatibleFeatures.has(lowHalf(incompatible), name);
  const extendedL2 = has('extended L2 entries');
  if (extendedL2 && raw.cluster_bits < smallestExtendedClusterBits) {
    const expected = `${smallestExtendedClusterBits} to ${largestClusterBits}, for its extended L2 entries`;
    throw corrupt('cluster_bits', raw.cluster_bits, expected);
  }
  const compression = readCompression(third?.compressionType ?? 0, has('compression type'), { corrupt, unsupported });
  const encryption = cryptMethods[raw.crypt_method];
  if (encryption === undefined) throw unsupported('crypt_method', raw.crypt_method, '0 (none), 1 (AES) or 2 (LUKS)');
  const rawData = autoclearFeatures.has(lowHalf(autoclear), 'raw external data');
  if (rawData && !has('external data file')) {
    throw corrupt('autoclear_features', 'raw external data', 'no such thing without an external data file');
  }
  if (raw.size > largestSize) throw corrupt('size', raw.size, 'below 2^63');
  const l1 = checkL1(
    { offset: raw.l1_table_offset, count: raw.l1_size, diskSize: raw.size, entireDisk: true },
    { clusterSize, extendedL2, fileSize, place },
  );
  checkSnapshots(raw, clusterSize, fileSize, { corrupt, unsupported });

  return Object.freeze({
    version,
    size: raw.size,
    clusterSize,
    refcountBits: 2 ** (third?.refcountOrder ?? refcountOrder2),
    backingFile: readBackingFile(firstCluster, raw),
    backingFormat: extensions.backingFormat,
    dataFile: has('external data file') ? { name: extensions.dataFile, raw: rawData } : undefined,
    encryption,
    compression,
    extendedL2,
    lazyRefcounts: compatibleFeatures.has(lowHalf(compatible), 'lazy refcounts'),
    dirty: has('dirty bit'),
    corrupt: has('corrupt bit'),
    snapshotCount: raw.nb_snapshots,
    bitmapCount: autoclearFeatures.has(lowHalf(autoclear), 'bitmaps') ? extensions.bitmapCount : 0,
    features: namesOf({ incompatible, compatible, autoclear }, extensions),
    places: {
      l1,
      refcounts: { offset: raw.refcount_table_offset, clusters: raw.refcount_table_clusters },
      snapshots: raw.snapshots_offset,
    },
  });
}

type Raw = ReturnType<typeof qcow2Header.at>;
type Refuse = (field: string, actual: Place['actual'], expected: Place['expected']) => DiskError;

/** What version 3 has more. */
function readThird(head: DataView, clusterSize: number, fileSize: bigint, corrupt: Refuse) {
  const raw = qcow2Header3.at(head);
  const length = raw.header_length;
  const most = toNumber(min(BigInt(clusterSize), fileSize));
  if (length < smallestHeaderLength3 || length > most || length % 8 !== 0) {
    throw corrupt('header_length', length, `a multiple of 8 from ${smallestHeaderLength3} to ${most}`);
  }
  if (raw.refcount_order > largestRefcountOrder) {
    throw corrupt('refcount_order', raw.refcount_order, `0 to ${largestRefcountOrder}`);
  }
  const more = length > qcow2AdditionalFields.fields.compression_type.offset;
  return {
    incompatible: raw.incompatible_features,
    compatible: raw.compatible_features,
    autoclear: raw.autoclear_features,
    refcountOrder: raw.refcount_order,
    length,
    compressionType: more ? qcow2AdditionalFields.at(head).compression_type : 0,
  };
}

/** Checks where the name of the backing file lies, and returns where the header extensions end at the latest. */
function checkBackingFile(raw: Raw, clusterSize: number, fileSize: bigint, corrupt: Refuse): number {
  const end = min(BigInt(clusterSize), fileSize);
  const { backing_file_offset: offset, backing_file_size: length } = raw;
  if (offset === 0n) return toNumber(end);
  if (offset < BigInt(headerLength2) || offset > end) {
    throw corrupt('backing_file_offset', hex(offset), `0, or ${headerLength2} to ${end}`);
  }
  const most = min(BigInt(longestBackingFile), end - offset);
  if (BigInt(length) > most) throw corrupt('backing_file_size', length, `at most ${most}`);
  return toNumber(offset);
}

function readBackingFile(firstCluster: DataView, raw: Raw): string | undefined {
  if (raw.backing_file_offset === 0n) return undefined;
  const offset = toNumber(raw.backing_file_offset);
  return nameText(firstCluster, offset, raw.backing_file_size);
}

function readCompression(
  type: number,
  announced: boolean,
  refuse: { corrupt: Refuse; unsupported: Refuse },
): (typeof compressionTypes)[number] {
  if (announced !== (type !== 0)) {
    const expected = announced ? 'another than 0, as incompatible_features say' : '0, as incompatible_features say';
    throw refuse.corrupt('compression_type', type, expected);
  }
  const compression = compressionTypes[type];
  if (compression === undefined) throw refuse.unsupported('compression_type', type, '0 (zlib) or 1 (zstd)');
  return compression;
}

function checkSnapshots(
  { nb_snapshots: count, snapshots_offset: offset }: Raw,
  clusterSize: number,
  fileSize: bigint,
  refuse: { corrupt: Refuse; unsupported: Refuse },
): void {
  if (count === 0) return;
  if (count > mostSnapshots) throw refuse.unsupported('nb_snapshots', count, `at most ${mostSnapshots}`);
  if (offset === 0n || offset % BigInt(clusterSize) !== 0n) {
    throw refuse.corrupt('snapshots_offset', hex(offset), `a multiple of ${clusterSize}, above 0`);
  }
  if (offset + BigInt(count * snapshotEntry.size) > fileSize) {
    throw refuse.corrupt('snapshots_offset', hex(offset), `${count} snapshots inside the file of ${fileSize} bytes`);
  }
}

function lowHalf(features: bigint): number {
  return Number(BigInt.asUintN(32, features));
}

function namesOf(
  { incompatible, compatible, autoclear }: Record<'incompatible' | 'compatible' | 'autoclear', bigint>,
  { featureNames: names }: Extensions,
): Qcow2Header['features'] {
  return {
    incompatible: featureNames(incompatible, incompatibleFeatures, names.incompatible),
    compatible: featureNames(compatible, compatibleFeatures, names.compatible),
    autoclear: featureNames(autoclear, autoclearFeatures, names.autoclear),
  };
}
