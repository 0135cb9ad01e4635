import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setXattr } from '../../src/host/xattr.js';
import { attempt, run } from './run.js';

/** How much of each kind there is, and what the filesystem cannot hold. */
export interface Population {
  /** Files of one directory, of which half are deleted again. */
  readonly entries: number;
  /** Blocks of data, each followed by a hole. */
  readonly pieces: number;
  /** Bytes: how far a sparse file reaches. */
  readonly reach: number;
}

/**
 * Fills a mounted filesystem, as root, with every kind of file that there is and every shape that a file can have. What
 * this filesystem cannot hold is left out.
 */
export async function populate(root: string, { entries, pieces, reach }: Population): Promise<void> {
  const at = (name: string) => join(root, name);
  mkdirSync(at('sizes'));
  for (const size of [0, 1, 59, 60, 61, 100, 150, 170, 1023, 1024, 4095, 4096, 4097, 65_536, 1_000_003]) {
    writeFileSync(at(`sizes/${size}`), randomBytes(size));
  }
  sparseFile(at('every-other-block'), pieces, 65_536 * 2);
  sparseFile(at('far'), 3, reach / 2);
  truncateFile(at('all-hole'), 1_000_000);
  await attempt('fallocate', ['-l', '1000000', at('unwritten')]);
  await attempt('fallocate', ['-l', '1000000', at('half-written')]);
  await attempt('fallocate', ['-n', '-l', '1000000', at('past-its-end')]);
  pieceOf(at('half-written'), 300_000, 5000);
  pieceOf(at('past-its-end'), 0, 10);
  truncateFile(at('grown'), 0);
  pieceOf(at('grown'), 0, 70);
  truncateFile(at('grown'), 100_000);
  let deep = at('deep');
  for (let i = 0; i < 60; i++) {
    mkdirSync(deep);
    deep = join(deep, `level-${i}`);
  }
  fillDirectory(at('many'), entries);
  mkdirSync(at('few'));
  for (let i = 0; i < 4; i++) writeFileSync(at(`few/${i}`), `${i}`);
  links(at('links'));
  await special(at('special'));
  names(at('names'));
  await times(at('times'));
  attributes(at('xattrs'));
}

function sparseFile(path: string, count: number, step: number): void {
  const fd = openSync(path, 'w');
  for (let i = 0; i < count; i++) writeSync(fd, randomBytes(1024), 0, 1024, i * step);
  closeSync(fd);
}

function pieceOf(path: string, offset: number, length: number): void {
  const fd = openSync(path, 'a');
  closeSync(fd);
  const writable = openSync(path, 'r+');
  writeSync(writable, randomBytes(length), 0, length, offset);
  closeSync(writable);
}

function truncateFile(path: string, size: number): void {
  const fd = openSync(path, 'a');
  ftruncateSync(fd, size);
  closeSync(fd);
}

function fillDirectory(path: string, entries: number): void {
  mkdirSync(path);
  for (let i = 0; i < entries; i++) writeFileSync(join(path, `file number ${i}`), '');
  for (let i = 0; i < entries; i += 2) rmSync(join(path, `file number ${i}`));
}

function links(folder: string): void {
  mkdirSync(folder);
  const at = (name: string) => join(folder, name);
  writeFileSync(at('one'), 'one of three');
  linkSync(at('one'), at('two'));
  linkSync(at('one'), join(folder, '..', 'three'));
  for (const length of [1, 20, 58, 59, 60, 61, 150, 900]) symlinkSync('x'.repeat(length), at(`to-${length}`));
  symlinkSync('../sizes', at('up'));
  symlinkSync('/links/up/../names', at('absolute'));
  symlinkSync('round', at('round'));
}

async function special(folder: string): Promise<void> {
  mkdirSync(folder);
  const at = (name: string) => join(folder, name);
  await run('mknod', [at('null'), 'c', '1', '3']);
  await run('mknod', [at('disk'), 'b', '259', '70000']);
  await run('mknod', [at('pipe'), 'p']);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(at('socket'), resolve));
  // Closing it would remove its name.
  linkSync(at('socket'), at('left-behind'));
  await new Promise((resolve) => server.close(resolve));
  for (const [name, mode] of Object.entries({ setuid: 0o4755, setgid: 0o2711, sticky: 0o1000, none: 0 })) {
    writeFileSync(at(name), name);
    lchownSync(at(name), 70_000, 4_000_000_000);
    chmodSync(at(name), mode);
  }
}

function names(folder: string): void {
  mkdirSync(folder);
  const odd = ['a\nb', 'tab\t', ' ', '-rf', 'back\\slash', 'ümläut', '\u{1f600}', '\u001b[31m', '"quoted"', '$(x)'];
  for (const name of odd) writeFileSync(join(folder, name), name);
  writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0xfe, 0x41, 0x80])]), 'no text');
  writeFileSync(join(folder, 'n'.repeat(255)), 'long');
}

async function times(folder: string): Promise<void> {
  mkdirSync(folder);
  const moments = ['1901-12-14T00:00:00', '1969-12-31T23:59:59.5', '2037-01-01T00:00:00.123456789', '2100-06-01'];
  for (const [i, moment] of moments.entries()) await run('touch', ['-d', moment, join(folder, `${i}`)]);
  await run('touch', ['-a', '-d', '2200-01-01T01:02:03.999999999', join(folder, '0')]);
}

/** rw- for the owner, r-- for user 1234 and group 5678, rw- as the mask. */
const accessList = Buffer.from(
  '02000000 01000600ffffffff 02000400d2040000 04000400ffffffff 080004002e160000 10000600ffffffff 20000000ffffffff'.replaceAll(
    ' ',
    '',
  ),
  'hex',
);

function attributes(folder: string): void {
  mkdirSync(folder);
  const set = (path: string, values: Record<string, Uint8Array>) => {
    const fd = openSync(path, 'r');
    for (const [name, value] of Object.entries(values)) setXattr(fd, name, value);
    closeSync(fd);
  };
  const file = (name: string, values: Record<string, Uint8Array>) => {
    writeFileSync(join(folder, name), name);
    set(join(folder, name), values);
  };
  file('small', { 'user.note': Buffer.from('short'), 'user.empty': Buffer.alloc(0) });
  file('trusted', { 'trusted.t': Buffer.from([0, 1, 2]), 'security.s': Buffer.from('label\0') });
  file('block', { 'user.note': randomBytes(700), 'user.more': Buffer.from('more') });
  file('inode', { 'user.huge': randomBytes(30_000), 'user.small': Buffer.from('beside it') });
  file('list', { 'system.posix_acl_access': accessList });
  set(folder, { 'system.posix_acl_default': accessList, 'user.folder': Buffer.from('too') });
  file('inherits', {});
}
