import { createHash } from 'node:crypto';
import { type BigIntStats, closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { isZero } from '../../src/binary/zeros.js';
import { eachExtent } from '../../src/host/fiemap.js';
import { run } from './run.js';

/** What the kernel shows of a mounted filesystem. */
export interface KernelFile {
  readonly stats: BigIntStats;
  /** Of a regular file, its content by {@link SparseDigest}; of a symbolic link, its target by {@link sha256}. */
  readonly digest?: string | undefined;
  readonly extents?: readonly KernelExtent[] | undefined;
}

export interface KernelExtent {
  readonly fileOffset: bigint;
  readonly length: bigint;
  readonly offset: bigint;
  readonly unwritten: boolean;
  readonly inline: boolean;
}

const FIEMAP_EXTENT_DATA_INLINE = 0x200;
const FIEMAP_EXTENT_UNWRITTEN = 0x800;

/**
 * Every file under a mount point by its path from there, in latin1: names may be any bytes.
 *
 * @param contents whether they can be read
 */
export function kernelFiles(mountPoint: string, { contents = true } = {}): Map<string, KernelFile> {
  const found = new Map<string, { readonly path: Buffer; readonly stats: BigIntStats }>();
  const visit = (path: Buffer) => {
    const stats = lstatSync(path, { bigint: true });
    const name = path.subarray(mountPoint.length).toString('latin1');
    found.set(name === '' ? '/' : name, { path, stats });
    if (!stats.isDirectory()) return;
    for (const entry of readdirSync(path, { encoding: 'buffer' })) {
      visit(Buffer.concat([path, Buffer.from('/'), entry]));
    }
  };
  visit(Buffer.from(mountPoint));
  if (!contents) return new Map([...found].map(([name, { stats }]) => [name, { stats }]));
  // Reading changes when a file was last read: of all, that was looked at before.
  return new Map([...found].map(([name, { path, stats }]) => [name, describe(path, stats)]));
}

function describe(path: Buffer, stats: BigIntStats): KernelFile {
  if (stats.isSymbolicLink()) return { stats, digest: sha256(readlinkSync(path, { encoding: 'buffer' })) };
  if (!stats.isFile() && !stats.isDirectory()) return { stats };
  const fd = openSync(path, 'r');
  try {
    return { stats, digest: stats.isFile() ? sha256File(fd, stats.size) : undefined, extents: extentsOf(fd) };
  } finally {
    closeSync(fd);
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Bytes. */
export const digestStep = 1 << 20;

/** The SHA-256 of a file's size and of each step of it that is not all zeros, with its offset: for sparse files. */
export class SparseDigest {
  readonly #hash = createHash('sha256');

  constructor(size: bigint) {
    this.#hash.update(`${size}`);
  }

  /** @param offset a multiple of {@link digestStep}; those that are left out are zeros */
  update(bytes: Uint8Array, offset: bigint): void {
    if (!isZero(bytes)) this.#hash.update(`@${offset}:`).update(bytes);
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}

function sha256File(fd: number, size: bigint): string {
  const hash = new SparseDigest(size);
  const buffer = Buffer.alloc(digestStep);
  for (let at = 0n; at < size; at += BigInt(digestStep)) {
    hash.update(buffer.subarray(0, readSync(fd, buffer, 0, digestStep, at)), at);
  }
  return hash.digest();
}

/** Joined, as far as they go on; undefined where the kernel does not tell, as of the directories of XFS. */
function extentsOf(fd: number): readonly KernelExtent[] | undefined {
  const extents: KernelExtent[] = [];
  const told = eachExtent(fd, 2n ** 62n, ({ offset: fileOffset, length, place: offset, flags }) => {
    const unwritten = (flags & FIEMAP_EXTENT_UNWRITTEN) !== 0;
    const inline = (flags & FIEMAP_EXTENT_DATA_INLINE) !== 0;
    extents.push({ fileOffset, length, offset, unwritten, inline });
    return true;
  });
  return told ? joined(extents) : undefined;
}

/** Extents, those that go on where the one before them ends joined with it. */
export function joined(extents: readonly KernelExtent[]): KernelExtent[] {
  const found: KernelExtent[] = [];
  for (const extent of extents) {
    const last = found.at(-1);
    const goesOn =
      last !== undefined &&
      last.fileOffset + last.length === extent.fileOffset &&
      last.offset + last.length === extent.offset &&
      last.unwritten === extent.unwritten;
    if (goesOn) found.splice(-1, 1, { ...last, length: last.length + extent.length });
    else found.push(extent);
  }
  return found;
}

/**
 * The extended attributes of everything under a mount point, by path in latin1 and by name; values in hexadecimal. XFS
 * shows root access lists a second time, as it keeps them: these are left out.
 */
export async function kernelXattrs(mountPoint: string): Promise<Map<string, Record<string, string>>> {
  const args = ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '--absolute-names', mountPoint];
  const text = await run('getfattr', args, { maxBuffer: 512 << 20, env: { LC_ALL: 'C' } });
  const found = new Map<string, Record<string, string>>();
  for (const part of text.split(/\n\n/).filter((part) => part.startsWith('# file: '))) {
    const [head = '', ...lines] = part.trimEnd().split('\n');
    const path = head
      .slice('# file: '.length)
      .replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))
      .slice(mountPoint.length);
    const values = lines
      .filter((line) => !line.startsWith('trusted.SGI_ACL_'))
      .map((line) => {
        const at = line.indexOf('=');
        return at === -1 ? [line, ''] : [line.slice(0, at), line.slice(at + 1).replace(/^0x|^""$/, '')];
      });
    found.set(path === '' ? '/' : path, Object.fromEntries(values));
  }
  return found;
}
