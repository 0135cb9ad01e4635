import type { Range } from '../binary/range-set.js';
import type { BlockDevice, RequestOptions } from '../device/block-device.js';

/** What a file is. */
export type FileType = 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket';

/** What a filesystem keeps of a file besides its content, as stat(2) tells it. */
export interface FileAttributes {
  /** Permissions, set-user-ID, set-group-ID and sticky: 0 to 0o7777. */
  readonly mode: number;
  /** 0 to 2^32 - 1. */
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content: of a symbolic link, of its target; of a directory, what the filesystem says. */
  readonly size: bigint;
  /** Names that lead to it; 1 for a directory of a filesystem that does not count them. */
  readonly links: number;
  /** Bytes of the device that it takes, by the filesystem's own count. */
  readonly allocated: bigint;
  /** Of a `char` or a `block`: the device that it stands for. */
  readonly device?: DeviceNumber | undefined;
  /** Last read, in nanoseconds since 1970; negative before. */
  readonly atimeNs: bigint;
  /** Last written. */
  readonly mtimeNs: bigint;
  /** Last change of what is told here. */
  readonly ctimeNs: bigint;
  /** Creation, where the filesystem keeps it. */
  readonly birthNs?: bigint | undefined;
}

export interface DeviceNumber {
  readonly major: number;
  readonly minor: number;
}

/** An extended attribute with its whole name, `user.note`, and the value that getxattr(2) gives. */
export interface Xattr {
  /** Any bytes but NUL. */
  readonly name: Buffer;
  readonly value: Uint8Array;
}

/** Where a part of a file lies on the device of its filesystem. All offsets and lengths are in bytes. */
export interface FileExtent {
  /**
   * `content`: what is read from the file, or a directory's entries. `metadata`: what the filesystem keeps for this file
   * apart from its content, in room of its own: blocks of its map, of its extended attributes, a second copy of its
   * content.
   */
  readonly role: 'content' | 'metadata';
  /** Where in the content it begins; 0 for metadata. */
  readonly fileOffset: bigint;
  /** How much of the content it holds; 0 for metadata. More than `length` where it is compressed. */
  readonly fileLength: bigint;
  /** From the start of the device. */
  readonly offset: bigint;
  readonly length: bigint;
  /** Set aside and never written: reads as zeros, whatever lies there. */
  readonly unwritten: boolean;
  /** Lies within a structure that holds more than this file: an inode, a record, a leaf. */
  readonly inline: boolean;
  /** What lies there is not the content as it reads: it is compressed or encrypted. */
  readonly encoded: boolean;
}

/** A name in a directory. */
export interface DirectoryEntry {
  /** As the guest's own kernel shows it, any bytes but NUL and `/`; of an encrypted directory, an encoded name. */
  readonly name: Buffer;
  /** The object that it leads to: see {@link FileObject.id}. */
  readonly id: bigint;
  /** @throws {DiskError} CORRUPT when it leads to nothing that makes sense; IO, CANCELLED */
  open(options?: RequestOptions): Promise<FileObject>;
}

/**
 * One object of a filesystem: whatever its names. What it says was read and checked when it was opened; what its methods
 * read is checked then. Every method rejects with {@link DiskError}: CORRUPT where the disk contradicts itself,
 * UNSUPPORTED with the reason for what cannot be read (encrypted), USAGE when it is no such file; IO, CANCELLED.
 */
export interface FileObject {
  /** The same for two names of one object, and for no other object of its filesystem: the inode number where there is one. */
  readonly id: bigint;
  readonly type: FileType;
  readonly attributes: FileAttributes;
  /** Where the filesystem keeps what it knows of it, from the start of the device: its inode, its record. */
  readonly record?: Range | undefined;
  /** Why its content, or the true names in it, cannot be read: one clause. */
  readonly refused?: string | undefined;
  /** Those that listxattr(2) names, each name once, in no order. */
  xattrs(options?: RequestOptions): Promise<readonly Xattr[]>;
  /** Of a symbolic link: any bytes but NUL, at least one. */
  linkTarget(options?: RequestOptions): Promise<Buffer>;
  /**
   * Of a regular file: its content as a device that only reads, as large as the file; holes and what was never written are
   * zeros. It borrows the device of the filesystem. To be closed.
   */
  content(options?: RequestOptions): Promise<BlockDevice>;
  /** Of a directory: all but `.` and `..`, in the directory's own order. */
  entries(options?: RequestOptions): AsyncGenerator<DirectoryEntry, void, undefined>;
  /** Of a directory: the entry of that name, by the directory's own rules (folded case). */
  find(name: Uint8Array, options?: RequestOptions): Promise<DirectoryEntry | undefined>;
  /**
   * Where it lies: content in ascending order of the file, with gaps where there are holes, in whole blocks, so that it
   * may pass the file's size; metadata anywhere between. What a whole family of files shares (inode tables) is the
   * filesystem's, see {@link Filesystem.metadata}.
   */
  fileMap(options?: RequestOptions): AsyncGenerator<FileExtent, void, undefined>;
}
