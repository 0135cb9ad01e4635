import type { DiskInfo, ImageFacts } from '../../task/info.js';
import { printable } from '../printable.js';
import { formatSize } from '../quantities.js';
import { table } from '../table.js';

/** A paragraph for each image, then tables: what is inside the first of them, partitions and logical volumes of its disk. */
export function describeInfo({ images, partitionTable, logicalVolumes = [] }: DiskInfo): string {
  const parts = images.map(describeImage);
  const tables = partitionTable === undefined ? [] : [describeTable(partitionTable)];
  const volumes = logicalVolumes.length === 0 ? [] : [describeLogicalVolumes(logicalVolumes)];
  return [...parts, ...tables, ...volumes].join('\n\n');
}

const both = (bytes: bigint) => (bytes < 1024n ? `${bytes} bytes` : `${formatSize(bytes)} (${bytes} bytes)`);

function describeImage(facts: ImageFacts): string {
  const { image, format, detected, virtualSize, fileSize, allocated, clusterSize, blockSize } = facts;
  const { backingFile, backingFormat, snapshots = [], problems } = facts;
  const lines: readonly (readonly [string, string | undefined])[] = [
    ['image', image],
    ['format', detected ? `${format} (by its first bytes)` : format],
    ['virtual size', virtualSize === undefined ? 'unknown' : both(virtualSize)],
    ['file length', fileSize === undefined ? undefined : both(fileSize)],
    ['allocated', allocated === undefined ? undefined : both(allocated)],
    ['cluster size', clusterSize === undefined ? undefined : both(BigInt(clusterSize))],
    ['block size', blockSize && `${blockSize.minimum} to ${blockSize.maximum} bytes, best ${blockSize.preferred}`],
    ...describeQcow2(facts),
    ['backing file', backingFile && `${backingFile} (${backingFormat ?? 'of a format that is not recorded'})`],
    ...problems.map(({ message }) => ['problem', message] as const),
  ];
  const wide = Math.max(...lines.map(([name]) => name.length)) + 2;
  const text = lines
    .filter(([, value]) => value !== undefined)
    .map(([name, value = '']) => `${`${name}:`.padEnd(wide)}${printable(value)}`);
  const inside = snapshots.length === 0 ? [] : ['snapshots:', describeSnapshots(snapshots)];
  return [...text, ...inside].join('\n');
}

function describeQcow2({ qcow2 }: ImageFacts): (readonly [string, string | undefined])[] {
  if (qcow2 === undefined) return [];
  const { compat, compression, refcountBits, encryption, dataFile, bitmapCount, dirty, corrupt } = qcow2;
  const { lazyRefcounts, extendedL2 } = qcow2;
  const flags = [
    lazyRefcounts && 'lazy refcounts',
    extendedL2 && 'extended L2 entries',
    dirty && 'dirty',
    corrupt && 'corrupt',
  ].filter((flag) => flag !== false);
  return [
    ['compat', compat],
    ['compression', compression],
    ['refcount bits', `${refcountBits}`],
    ['encryption', encryption === 'none' ? undefined : encryption],
    ['features', flags.length === 0 ? undefined : flags.join(', ')],
    ['bitmaps', bitmapCount === 0 ? undefined : `${bitmapCount}`],
    ['data file', dataFile && `${dataFile.name ?? 'without a name'}${dataFile.raw ? ' (raw)' : ''}`],
  ];
}

function describeSnapshots(snapshots: NonNullable<ImageFacts['snapshots']>): string {
  return table(snapshots, [
    { heading: 'ID', cell: ({ id }) => id },
    { heading: 'Name', cell: ({ name }) => name },
    { heading: 'Taken', cell: ({ takenAt }) => takenAt.toISOString() },
    { heading: 'VM state', align: 'right', cell: ({ vmStateSize }) => formatSize(vmStateSize) },
    { heading: 'Disk', align: 'right', cell: ({ diskSize }) => formatSize(diskSize) },
  ]);
}

function describeLogicalVolumes(volumes: NonNullable<DiskInfo['logicalVolumes']>): string {
  const rows = table(volumes, [
    { heading: 'Name', cell: ({ device }) => device },
    { heading: 'Size', align: 'right', cell: ({ size }) => `${size}` },
    { heading: '', align: 'right', cell: ({ size }) => formatSize(size) },
    { heading: 'Type', cell: ({ type }) => type },
    { heading: 'Problem', cell: ({ problem }) => problem ?? '-' },
  ]);
  return `logical volumes:\n${rows}`;
}

function describeTable({ kind, sectorSize, uuid, partitions }: NonNullable<DiskInfo['partitionTable']>): string {
  if (kind === 'none') return 'partition table: none';
  const id = uuid === '' ? '' : `, ${uuid}`;
  const heading = `partition table: ${kind}, sectors of ${sectorSize} bytes${id}`;
  if (partitions.length === 0) return heading;
  const rows = table(partitions, [
    { heading: 'Number', align: 'right', cell: ({ number }) => `${number}` },
    { heading: 'Start', align: 'right', cell: ({ offset }) => `${offset}` },
    { heading: 'Size', align: 'right', cell: ({ length }) => `${length}` },
    { heading: '', align: 'right', cell: ({ length }) => formatSize(length) },
    { heading: 'Type', cell: ({ type }) => type },
    { heading: 'Name', cell: ({ name }) => (name === '' ? '-' : name) },
    { heading: 'Problem', cell: ({ problem }) => problem ?? '-' },
  ]);
  return `${heading}\n${rows}`;
}
