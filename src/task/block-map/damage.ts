import { type RangeSet, RangeSetBuilder } from '../../binary/range-set.js';
import { DiskError } from '../../error/disk-error.js';
import type { FileType } from '../../filesystem/file.js';
import type { Guest, Volume } from '../../guest/guest.js';
import type { SourceOptions } from '../../image/open-image.js';
import type { TaskContext } from '../context.js';
import { type BadSectors, type BadSectorsOptions, readBadSectors } from './bad-sectors.js';
import { withGuest } from './block-map.js';
import { readLength } from './owners.js';
import { type NamedFile, type NotSurveyed, type Owned, surveyGuest } from './survey.js';
import { type Unowned, unownedPlaces } from './unowned.js';

/** A file that bad sectors have hit. */
export interface DamagedFile {
  /** As the guest names it. */
  readonly device: string;
  /** All names of the file, in the order of their bytes. */
  readonly paths: readonly Buffer[];
  readonly type: FileType;
  /** The inode number where there is one. */
  readonly id: bigint;
  /** How many bytes of what is read from it are bad. */
  readonly content: bigint;
  /** How many bytes of its own metadata are bad: of its inode, of blocks of its map or of its attributes. */
  readonly metadata: bigint;
}

/** What else bad sectors have hit. */
export interface DamagedPlace {
  /**
   * `metadata` of a filesystem; `swap`; `free` space; `unread`: what a file has and never reads, unwritten parts and what is
   * behind its end; or why nobody has it.
   */
  readonly kind: 'metadata' | 'swap' | 'free' | 'unread' | Unowned['kind'];
  readonly device: string;
  /** In a word or two: which metadata, or a clause: why nobody has it. */
  readonly what?: string | undefined;
  readonly bytes: bigint;
}

export interface Damage {
  readonly format: BadSectors['format'];
  /** Bytes of the disk that are bad, in how many ranges, and how many of them nobody has tried to read. */
  readonly bad: bigint;
  readonly ranges: number;
  readonly untried: bigint;
  /** By device, then by path. */
  readonly files: readonly DamagedFile[];
  readonly places: readonly DamagedPlace[];
  /** What bad sectors may have hit, or have, so that it cannot be told. */
  readonly leftOut: readonly NotSurveyed[];
}

export interface DamageOptions extends SourceOptions, Omit<BadSectorsOptions, 'signal'> {}

/**
 * Finds the files of a guest that bad sectors have hit, and what else. Looks through every file of the filesystems that
 * have any, and at no sector: costs go by the number of extents and of bad ranges.
 *
 * @param list a file as readBadSectors reads it, or `-`
 * @throws {DiskError} as openImage, openGuest and readBadSectors; USAGE for a number past the end
 */
export async function findDamage(
  image: string,
  list: string,
  { sectorSize, statuses, ...source }: DamageOptions,
  context: TaskContext,
): Promise<Damage> {
  const { signal } = context;
  const read = await readBadSectors(list, { sectorSize, statuses, signal });
  return await withGuest(image, source, context, async (guest) => {
    checkEnd(read, list, image, guest.disk.facts.size, context);
    const bad = read.bad.clip(0n, guest.disk.facts.size);
    const finding = new Finding(bad);
    const options = { free: true, inside: true, within: bad };
    const { leftOut } = await surveyGuest(guest, options, (owned) => finding.take(owned), context);
    finding.addUnowned(guest, leftOut);
    const { format } = read;
    const untried = read.untried.clip(0n, guest.disk.facts.size).total;
    return { format, bad: bad.total, ranges: bad.count, untried, ...finding.result(guest.volumes), leftOut };
  });
}

/** Says when a list and a disk do not go together. */
function checkEnd(
  { end, last }: BadSectors,
  list: string,
  image: string,
  size: bigint,
  { onWarning }: TaskContext,
): void {
  if (last !== undefined && last.offset >= size) {
    const where = `${list === '-' ? 'standard input' : list}, line ${last.line}`;
    throw new DiskError('USAGE', `${where}: byte ${last.offset} is past the end of ${image}, which has ${size} bytes`);
  }
  if (end === undefined || end === size) return;
  // A copy whose end could not be read is shorter than its disk was.
  const words =
    end < size
      ? `nothing is known of what lies behind byte ${end} of ${image}, where the map ends`
      : `the map goes on to byte ${end}, and ${image} has ${size} bytes: is it the map of another disk?`;
  onWarning?.(words);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type FoundFile = Mutable<Omit<DamagedFile, 'paths'>> & { readonly paths: Buffer[] };

class Finding {
  readonly #files = new Map<string, FoundFile>();
  readonly #places = new Map<string, Mutable<DamagedPlace>>();
  readonly #owned = new RangeSetBuilder();

  constructor(private readonly bad: RangeSet) {}

  take(owned: Owned): void {
    const { kind, volume, offset, length, metadata, file, extent } = owned;
    if (kind === 'v' || kind === 'p') return;
    const { name: device } = volume;
    if (file === undefined) {
      const bytes = this.#hit(volume, offset, length);
      if (bytes === 0n) return;
      if (kind === 'm') this.#addPlace({ kind: 'metadata', device, what: metadata, bytes });
      else this.#addPlace({ kind: kind === 's' ? 'swap' : 'free', device, bytes });
      return;
    }
    const readable = extent === undefined ? length : readLength(file.object, extent);
    const read = this.#hit(volume, offset, readable);
    const unread = this.#hit(volume, offset + readable, length - readable);
    const found = read + unread === 0n ? undefined : this.#fileOf(device, file);
    if (found === undefined) return;
    found[kind === 'm' ? 'metadata' : 'content'] += read;
    if (unread > 0n) this.#addPlace({ kind: 'unread', device, bytes: unread });
  }

  /** What is left when all that has an owner has been told. */
  addUnowned(guest: Guest, leftOut: readonly NotSurveyed[]): void {
    let rest = this.bad.subtract(this.#owned.finish());
    for (const { kind, device, reason, bytes } of unownedPlaces(guest, leftOut)) {
      if (rest.count === 0) return;
      const hit = rest.intersect(bytes).total;
      if (hit > 0n) this.#addPlace({ kind, device, what: reason, bytes: hit });
      rest = rest.subtract(bytes);
    }
  }

  result(volumes: readonly Volume[]): Pick<Damage, 'files' | 'places'> {
    const order = new Map(volumes.map(({ name }, i) => [name, i]));
    const files = [...this.#files.values()].filter(({ content, metadata }) => content + metadata > 0n);
    for (const { paths } of files) paths.sort(Buffer.compare);
    files.sort(
      (a, b) =>
        (order.get(a.device) ?? 0) - (order.get(b.device) ?? 0) ||
        Buffer.compare(a.paths[0] ?? none, b.paths[0] ?? none),
    );
    return { files, places: [...this.#places.values()] };
  }

  /** How many bytes of a part of a volume are bad. */
  #hit({ placement }: Volume, offset: bigint, length: bigint): bigint {
    let total = 0n;
    if (length <= 0n) return total;
    for (const run of placement.locate(offset, length)) {
      for (const hit of this.bad.within(run.offset, run.length)) {
        total += hit.length;
        this.#owned.add(hit.offset, hit.length);
      }
    }
    return total;
  }

  /** @returns what is known of a file; undefined when it was told by another of its names already */
  #fileOf(device: string, { path, object: { id, type } }: NamedFile): FoundFile | undefined {
    const key = `${device}\0${id}`;
    const found = this.#files.get(key);
    if (found === undefined) {
      const file = { device, paths: [path], type, id, content: 0n, metadata: 0n };
      this.#files.set(key, file);
      return file;
    }
    if (found.paths[0] === path) return found;
    if (found.paths.at(-1) !== path) found.paths.push(path);
    return undefined;
  }

  #addPlace(place: DamagedPlace): void {
    const key = `${place.kind}\0${place.device}\0${place.what}`;
    const found = this.#places.get(key);
    if (found === undefined) this.#places.set(key, { ...place });
    else found.bytes += place.bytes;
  }
}

const none = Buffer.alloc(0);
