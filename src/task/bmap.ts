import { createHash } from 'node:crypto';
import { max, min, toNumber } from '../binary/convert.js';
import type { BlockDevice } from '../device/block-device.js';
import { rangeBuffer, readRange } from '../device/read-range.js';
import { DiskError } from '../error/disk-error.js';
import { Spool } from '../host/spool.js';
import { openImage } from '../image/open-image.js';
import type { TaskContext } from './context.js';
import type { MapOptions } from './map.js';

/** Bytes: the unit of the map, that of the filesystems which bmaptool looks at. */
const blockSize = 4096n;
/** Bytes a request. */
const requestSize = 2 << 20;
const unknownChecksum = '0'.repeat(64);

/**
 * Writes what bmaptool makes of a raw image, of the disk of any: an XML file that names the blocks with data, with a
 * SHA-256 of each run of them and one of the file itself (bmap-tools, BmapCreate.py: version 2.0). All is read before the
 * first piece comes.
 *
 * @throws {DiskError} as {@link openImage}, what reading it rejects with, and IO when there is no room for what has to be
 * put aside
 */
export async function* bmapFile({ image, ...source }: MapOptions, context: TaskContext = {}): AsyncGenerator<Buffer> {
  const { signal, onWarning } = context;
  await using spool = await Spool.open();
  await using disk = await openImage(image, { ...source, access: 'read', signal, onWarning });
  let mapped = 0n;
  for await (const { first, end, checksum } of checkedRuns(disk, `reading ${image}`, context)) {
    mapped += end - first;
    const blocks = end - first === 1n ? `${first}` : `${first}-${end - 1n}`;
    await spool.append(`        <Range chksum="${checksum}"> ${blocks} </Range>\n`);
  }
  const head = (checksum: string) => Buffer.from(headOf(disk.facts.size, mapped, checksum));
  const tail = Buffer.from('    </BlockMap>\n</bmap>\n');
  const whole = createHash('sha256').update(head(unknownChecksum));
  for await (const chunk of spool.read()) whole.update(chunk);
  yield head(whole.update(tail).digest('hex'));
  yield* spool.read();
  yield tail;
}

function headOf(size: bigint, mapped: bigint, checksum: string): string {
  return `<?xml version="1.0" ?>
<!-- The blocks of a disk image that hold data. The checksum of this file is made with zeros in its own place. -->

<bmap version="2.0">
    <ImageSize> ${size} </ImageSize>
    <BlockSize> ${blockSize} </BlockSize>
    <BlocksCount> ${blocksTo(size)} </BlocksCount>
    <MappedBlocksCount> ${mapped} </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> ${checksum} </BmapFileChecksum>
    <BlockMap>
`;
}

/** Blocks that hold data, in a row: of the last one of a disk there may be less than a block. */
interface Run {
  readonly first: bigint;
  /** The one behind the last. */
  readonly end: bigint;
}

function blocksTo(offset: bigint): bigint {
  return (offset + blockSize - 1n) / blockSize;
}

/** What is not known to be zeros, rounded out to blocks. */
async function* mappedRuns(disk: BlockDevice, signal: AbortSignal | undefined): AsyncGenerator<Run, void, undefined> {
  let run: Run | undefined;
  for await (const { offset, length, zero } of disk.extents(0n, disk.facts.size, { signal })) {
    if (zero) continue;
    const next = { first: offset / blockSize, end: blocksTo(offset + length) };
    if (run !== undefined && next.first <= run.end) run = { first: run.first, end: max(run.end, next.end) };
    else {
      if (run !== undefined) yield run;
      run = next;
    }
  }
  if (run !== undefined) yield run;
}

/** The same, each with the SHA-256 of its bytes. */
async function* checkedRuns(
  disk: BlockDevice,
  phase: string,
  { signal, onProgress }: TaskContext,
): AsyncGenerator<Run & { readonly checksum: string }, void, undefined> {
  const { size } = disk.facts;
  // While one is read, the other is summed up.
  const buffers = [rangeBuffer(disk, requestSize), rangeBuffer(disk, requestSize)];
  for await (const run of mappedRuns(disk, signal)) {
    const end = min(run.end * blockSize, size);
    const hash = createHash('sha256');
    const read = async (at: bigint): Promise<Buffer | undefined> => {
      const [buffer] = buffers.reverse();
      if (at >= end || buffer === undefined) return undefined;
      return await readRange(disk, buffer, at, toNumber(min(BigInt(requestSize), end - at)), { signal });
    };
    let bytes = await read(run.first * blockSize);
    for (let at = run.first * blockSize; bytes !== undefined; ) {
      at += BigInt(bytes.length);
      const next = read(at);
      hash.update(bytes);
      onProgress?.({ phase, done: at, total: size });
      bytes = await next;
    }
    if (signal?.aborted) throw DiskError.cancelled(signal);
    yield { ...run, checksum: hash.digest('hex') };
  }
}
