import type { RangeSet } from '../binary/range-set.js';

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

/** Bytes in use and free, as the filesystem's own counters would have them. */
export interface Usage {
  readonly used: bigint;
  readonly free: bigint;
}

/** What a file is. */
export type FileType = 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket';

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
}

export interface FreeSpaceOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether a log that needs recovery is replayed in memory. Default true. */
  readonly replay?: boolean | undefined;
}
