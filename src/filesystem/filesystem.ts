import type { Range, RangeSet } from '../binary/range-set.js';
import type { RequestOptions } from '../device/block-device.js';
import type { DiskError } from '../error/disk-error.js';
import type { FileObject } from './file.js';

/** Whether what a filesystem says of its free space can be believed. */
export type FilesystemState =
  /** Unmounted in good order: what it says is true. */
  | { readonly kind: 'clean' }
  /**
   * Its journal or log holds changes that the rest of the disk does not show yet. `replayable`: `freeSpace` replays it in
   * memory, or says why it cannot.
   */
  | { readonly kind: 'needs-recovery'; readonly reason: string; readonly replayable: boolean }
  /** A sleeping operating system still owns it. */
  | { readonly kind: 'hibernated'; readonly reason: string }
  /** Marked with errors, or its structures contradict each other. */
  | { readonly kind: 'damaged'; readonly reason: string }
  /** In use by a live system, as far as the disk itself tells. */
  | { readonly kind: 'in-use'; readonly reason: string }
  /** Valid, but with a feature that disktool does not know: `feature` is its name. */
  | { readonly kind: 'unsupported'; readonly reason: string; readonly feature: string };

/** Whether what a filesystem's log holds can be had by replaying it in memory, as {@link Filesystem} does. */
export function isReplayable(state: FilesystemState): boolean {
  return state.kind === 'needs-recovery' && state.replayable;
}

/** Bytes in use and free, as the filesystem's own counters would have them. */
export interface Usage {
  readonly used: bigint;
  readonly free: bigint;
}

/** What a filesystem keeps for itself, from the start of its device. */
export interface MetadataExtent extends Range {
  /** One word: `superblock`, `inodes`, `journal`. */
  readonly kind: string;
}

/** A file by one of its names. */
export interface WalkEntry {
  /** From the root, `/` itself; any bytes but NUL. */
  readonly path: Buffer;
  readonly file: FileObject;
}

export interface LookupOptions extends RequestOptions {
  /** Whether a symbolic link stands for what it leads to, within this filesystem; true unless given. */
  readonly follow?: boolean | undefined;
}

export interface WalkOptions extends LookupOptions {
  /** Where to begin, from the root: `/` unless given. Links are followed to get there, and not on the way. */
  readonly from?: string | undefined;
  /** What is in a directory comes by name, byte by byte, and not in its own order: its names are held in memory. */
  readonly sorted?: boolean | undefined;
  /** How many levels below it: 0 is itself alone, 1 what is in it; all unless given. */
  readonly depth?: number | undefined;
  /** Told of what is damaged on the way, and the walk goes on without it; unless given, the walk ends there. */
  readonly onDamaged?: ((damaged: DamagedEntry) => void) | undefined;
}

/** What a walk cannot come to. */
export interface DamagedEntry {
  /** Of the name that leads to it, or of the directory whose other names cannot be read. */
  readonly path: Buffer;
  readonly what: 'file' | 'rest of directory';
  /** CORRUPT or UNSUPPORTED. */
  readonly error: DiskError;
}

/**
 * One filesystem on a device. It only ever reads, and believes nothing that it reads: every offset, count and length is
 * checked before it is used.
 *
 * Opening one succeeds whenever its superblock makes sense, whatever the state: it can be listed. What depends on the
 * rest rejects with {@link DiskError} CORRUPT or UNSUPPORTED.
 */
export interface Filesystem {
  /** As blkid spells it: `ext4`. */
  readonly type: string;
  /** Empty when there is none. */
  readonly label: string;
  /** As blkid spells it; empty when there is none. */
  readonly uuid: string;
  /** Bytes that the filesystem says are its own, from the start of its device. */
  readonly size: bigint;
  /** Bytes. */
  readonly blockSize: number;
  readonly state: FilesystemState;
  usage(): Promise<Usage>;
  /**
   * Every byte that is free, and none that is in use, from the start of the device: these bytes may be given away. Of a
   * filesystem that needs recovery, those that are free before its log is replayed and after it, which happens in memory
   * alone.
   *
   * @throws {DiskError} UNSAFE, or UNSUPPORTED, when its state or its log stand in the way; CORRUPT when its metadata
   * contradicts itself; then nothing of it is free
   */
  freeSpace(options?: FreeSpaceOptions): Promise<RangeSet>;
  /**
   * Finds a file by its path from the root.
   *
   * @throws {DiskError} NOT_FOUND; CORRUPT; UNSAFE or UNSUPPORTED when its state or its log stand in the way; IO, CANCELLED
   */
  open(path: string, options?: LookupOptions): Promise<FileObject>;
  /**
   * Every name in a tree, each directory before what is in it: an object with several names comes with each of them.
   * Files that were deleted while open have none, and do not come.
   *
   * @throws {DiskError} as {@link Filesystem.open}; CORRUPT for a directory that has two names; with `onDamaged`, of what
   * is damaged only where it begins
   */
  walk(options?: WalkOptions): AsyncGenerator<WalkEntry, void, undefined>;
  /**
   * What belongs to no file: with what each file of a walk maps and the free space, it covers the filesystem, but for
   * files that were deleted while open and the unused ends of clusters. In no order; the parts do not overlap.
   *
   * @throws {DiskError} CORRUPT; UNSAFE or UNSUPPORTED when its state or its log stand in the way; IO, CANCELLED
   */
  metadata(options?: RequestOptions): AsyncGenerator<MetadataExtent, void, undefined>;
}

export interface FreeSpaceOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether a log that needs recovery is replayed in memory. Default true. */
  readonly replay?: boolean | undefined;
}
