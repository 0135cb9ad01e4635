import { type BigIntStats, chmodSync, closeSync, constants, fstatSync } from 'node:fs';
import { DiskError } from '../error/disk-error.js';
import { errnoName, systemError, wrapSystemError } from './errno.js';
import { type SystemCall, tryCall } from './libc.js';
import { type FileTimes, timespecs } from './times.js';

/**
 * Making a tree of files under a folder, and nowhere else: openat(2) and its kin. A name is one name, looked up in a
 * folder that is held open, and never followed when it is a symbolic link. So whatever the names are, and whoever changes
 * the tree meanwhile, nothing outside of it is reached.
 */

const AT_FDCWD = -100;
const AT_REMOVEDIR = 0x200;
const AT_SYMLINK_FOLLOW = 0x400;
const AT_EMPTY_PATH = 0x1000;
const RENAME_NOREPLACE = 1;
const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
/** asm-generic/fcntl.h: this bit together with O_DIRECTORY, which differs between machines. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
const ownFolder = 0o700;
const ownFile = 0o600;

/** One name: any bytes but NUL and `/`, neither `.` nor `..`. */
export function isPlainName(name: Uint8Array): boolean {
  const text = Buffer.from(name).toString('latin1');
  return text !== '' && text !== '.' && text !== '..' && !/[/\0]/.test(text);
}

/** The system's `dev_t` of a device node: sys/sysmacros.h, gnu_dev_makedev. */
function deviceNumber({ major, minor }: { readonly major: number; readonly minor: number }): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return ((high & ~0xfffn) << 32n) | ((high & 0xfffn) << 8n) | ((low & ~0xffn) << 12n) | (low & 0xffn);
}

const types = { fifo: constants.S_IFIFO, char: constants.S_IFCHR, block: constants.S_IFBLK, socket: 0o140000 } as const;
export type NodeType = keyof typeof types;

/** A folder of the tree, held open. Whoever opened it disposes of it. */
export class TreeFolder implements Disposable {
  #open = true;

  private constructor(
    readonly fd: number,
    /** For errors. */
    readonly name: string,
  ) {}

  /**
   * The folder that the tree goes to; symbolic links that lead to it are the user's, and followed.
   *
   * @throws {DiskError} NOT_FOUND, IO
   */
  static open(path: string): TreeFolder {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC;
    const fd = Number(tryCall('openat', AT_FDCWD, path, flags, 0));
    if (fd < 0) {
      const errno = errnoName(-fd);
      if (errno === 'ENOENT')
        throw new DiskError('NOT_FOUND', `${path}: there is no such folder: make it first`, { errno });
      throw systemError(`open the folder ${path}`, errno, { device: path });
    }
    return new TreeFolder(fd, path);
  }

  /** @throws {DiskError} NOT_FOUND when it is no folder, a symbolic link to one among others; IO */
  child(name: Uint8Array): TreeFolder {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | O_CLOEXEC;
    const fd = this.#call('openat', 'open the folder', name, [flags, 0]);
    return new TreeFolder(fd, this.#path(name));
  }

  /** What has a name, without following it; undefined when nothing has. */
  stat(name: Uint8Array): BigIntStats | undefined {
    const fd = this.#find(name);
    if (fd === undefined) return undefined;
    try {
      return fstatSync(fd, { bigint: true });
    } finally {
      closeSync(fd);
    }
  }

  /** Makes a folder for its owner alone. @throws {DiskError} IO, EEXIST when the name is taken */
  makeFolder(name: Uint8Array): void {
    this.#call('mkdirat', 'make the folder', name, [ownFolder]);
  }

  /** Makes a symbolic link. @throws {DiskError} as {@link TreeFolder.makeFolder} */
  makeLink(name: Uint8Array, target: Uint8Array): void {
    const result = Number(tryCall('symlinkat', terminated(target), this.fd, terminated(checked(name))));
    if (result < 0) throw this.#error('make the symbolic link', name, result);
  }

  /** Makes what is neither a file nor a folder nor a link. @throws {DiskError} IO, EPERM for a device unless by root */
  makeNode(
    name: Uint8Array,
    type: NodeType,
    device: { readonly major: number; readonly minor: number } = { major: 0, minor: 0 },
  ): void {
    this.#call('mknodat', `make the ${type}`, name, [types[type] | ownFile, deviceNumber(device)]);
  }

  /**
   * Holds what has a name, without following it, if it is what was made there.
   *
   * @returns undefined when something else has the name by now, or nothing
   */
  holdSame(name: Uint8Array, identity: MadeFile): HeldFile | undefined {
    const fd = this.#find(name);
    if (fd === undefined) return undefined;
    if (isSame(madeFile(fd), identity)) return new HeldFile(fd);
    closeSync(fd);
    return undefined;
  }

  /** Gives a file another name. @throws {DiskError} IO, EEXIST when it is taken, ENOENT when the file has none left */
  makeHardLink(name: Uint8Array, { fd }: HeldFile): void {
    this.nameFile(fd, name);
  }

  /**
   * Opens a new file without a name, for its owner alone, that vanishes with its descriptor.
   *
   * @returns undefined where the filesystem knows no such files
   */
  createNameless(): number | undefined {
    const fd = Number(tryCall('openat', this.fd, '.', O_TMPFILE | constants.O_RDWR | O_CLOEXEC, ownFile));
    if (fd >= 0) return fd;
    const errno = errnoName(-fd);
    if (['EOPNOTSUPP', 'ENOTSUP', 'EISDIR', 'EINVAL'].includes(errno)) return undefined;
    throw systemError(`create a file in ${this.name}`, errno, { device: this.name });
  }

  /** Opens a new file, for its owner alone. @throws {DiskError} IO, EEXIST when the name is taken */
  create(name: Uint8Array): number {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | O_CLOEXEC;
    return this.#call('openat', 'create', name, [flags, ownFile]);
  }

  /** Gives an open file a name. @throws {DiskError} IO, EEXIST when the name is taken */
  nameFile(fd: number, name: Uint8Array): void {
    const given = terminated(checked(name));
    const result = Number(tryCall('linkat', AT_FDCWD, `/proc/self/fd/${fd}`, this.fd, given, AT_SYMLINK_FOLLOW));
    if (result < 0) throw this.#error('name', name, result);
  }

  /** @throws {DiskError} IO, EEXIST when the name is taken and must not be replaced */
  rename(from: Uint8Array, to: Uint8Array, { replace }: { readonly replace: boolean }): void {
    const [old, given] = [terminated(checked(from)), terminated(checked(to))];
    const flags = replace ? 0 : RENAME_NOREPLACE;
    const result = Number(tryCall('renameat2', this.fd, old, this.fd, given, flags));
    if (result < 0) throw this.#error('name', to, result);
  }

  /** Removes a name, or an empty folder, if it is there. */
  remove(name: Uint8Array, what: 'file' | 'folder' = 'file'): void {
    tryCall('unlinkat', this.fd, terminated(checked(name)), what === 'folder' ? AT_REMOVEDIR : 0);
  }

  /**
   * Holds what was just made, neither a file nor a folder, to give it its attributes: whatever becomes of its name, they
   * go to nothing else.
   *
   * @throws {DiskError} UNSAFE when something else has the name by now, or it has another name too; IO
   */
  hold(name: Uint8Array, type: NodeType | 'symlink'): TreeNode {
    const fd = this.#find(name);
    const stats = fd === undefined ? undefined : fstatSync(fd, { bigint: true });
    const wanted = type === 'symlink' ? constants.S_IFLNK : types[type];
    if (fd !== undefined && stats?.nlink === 1n && (Number(stats.mode) & constants.S_IFMT) === wanted) {
      return new TreeNode(fd, this.#path(name));
    }
    if (fd !== undefined) closeSync(fd);
    const path = this.#path(name);
    throw new DiskError('UNSAFE', `${path}: somebody has put something else in its place`, { device: path });
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }

  /** A descriptor that stands for what has a name. */
  #find(name: Uint8Array): number | undefined {
    const flags = O_PATH | constants.O_NOFOLLOW | O_CLOEXEC;
    const fd = Number(tryCall('openat', this.fd, terminated(checked(name)), flags, 0));
    if (fd >= 0) return fd;
    if (errnoName(-fd) === 'ENOENT') return undefined;
    throw this.#error('find', name, fd);
  }

  #call(call: SystemCall, verb: string, name: Uint8Array, rest: readonly unknown[]): number {
    const result = Number(tryCall(call, this.fd, terminated(checked(name)), ...rest));
    if (result < 0) throw this.#error(verb, name, result);
    return result;
  }

  #error(verb: string, name: Uint8Array, result: number): Error {
    const path = this.#path(name);
    return systemError(`${verb} ${path}`, errnoName(-result), { device: path });
  }

  #path(name: Uint8Array): string {
    return `${this.name}/${Buffer.from(name).toString()}`;
  }
}

/** What makes a file that was made the same file later: an inode number alone may be given to another. */
export interface MadeFile {
  readonly device: bigint;
  readonly inode: bigint;
  /** Nanoseconds since 1970. */
  readonly birthNs: bigint;
}

/** Of the file that a descriptor stands for, whatever has its name. */
export function madeFile(fd: number): MadeFile {
  const { dev: device, ino: inode, birthtimeNs: birthNs } = fstatSync(fd, { bigint: true });
  return { device, inode, birthNs };
}

function isSame(one: MadeFile, other: MadeFile): boolean {
  return one.device === other.device && one.inode === other.inode && one.birthNs === other.birthNs;
}

/** A file of any kind, held, to be given another name. Whoever holds it disposes of it. */
export class HeldFile implements Disposable {
  constructor(readonly fd: number) {}

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

/** As C ends it. */
function terminated(text: Uint8Array): Buffer {
  return Buffer.concat([text, Buffer.of(0)]);
}

/** @throws {RangeError} for what could lead out of the folder: whoever names something has looked */
function checked(name: Uint8Array): Uint8Array {
  if (!isPlainName(name)) throw new RangeError('not one name');
  return name;
}

/** What is neither a file nor a folder, held. Whoever holds it disposes of it. */
export class TreeNode implements Disposable {
  /** The way to it that follows no name. */
  readonly #path: string;

  constructor(
    private readonly fd: number,
    private readonly name: string,
  ) {
    this.#path = `/proc/self/fd/${fd}`;
  }

  /** What it is, whatever becomes of its name. */
  get identity(): MadeFile {
    return madeFile(this.fd);
  }

  /** False when this user may not. */
  setOwner(uid: number, gid: number): boolean {
    return tryCall('fchownat', this.fd, Buffer.of(0), uid, gid, AT_EMPTY_PATH) === 0;
  }

  /** Not of a symbolic link, which has none. */
  setMode(mode: number): void {
    try {
      chmodSync(this.#path, mode);
    } catch (error) {
      throw wrapSystemError(`set the mode of ${this.name}`, error);
    }
  }

  setTimes(times: FileTimes): void {
    const result = Number(tryCall('utimensat', AT_FDCWD, terminated(Buffer.from(this.#path)), timespecs(times), 0));
    if (result < 0) throw systemError(`set the times of ${this.name}`, errnoName(-result), { device: this.name });
  }

  /** @returns undefined, or the errno name when it could not be set */
  setXattr(attribute: string, value: Uint8Array): string | undefined {
    const result = Number(tryCall('setxattr', this.#path, attribute, value, value.length, 0));
    return result < 0 ? errnoName(-result) : undefined;
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}
