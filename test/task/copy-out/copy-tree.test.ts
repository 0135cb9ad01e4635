import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DiskError } from '../../../src/error/disk-error.js';
import type { FileObject } from '../../../src/filesystem/file.js';
import { TreeFolder } from '../../../src/host/tree-folder.js';
import { copyTree } from '../../../src/task/copy-out/copy-tree.js';
import { Copying } from '../../../src/task/copy-out/copying.js';
import { object } from '../../support/hostile-tree.js';
import { temporaryFolder } from '../../support/temporary.js';

const file = () => object('file');
const folder = (...entries: (readonly [string, FileObject])[]) => object('directory', { entries });
const link = (target: string) => object('symlink', { target });

interface Place {
  readonly inside: string;
  readonly outside: string;
}

/** A folder to copy to, and beside it one with a file that nothing must touch. */
async function place(): Promise<Place> {
  const root = await temporaryFolder();
  const [inside, outside] = [join(root, 'in'), join(root, 'outside')];
  for (const made of [inside, outside]) mkdirSync(made);
  writeFileSync(join(outside, 'file'), 'mine');
  return { inside, outside };
}

async function copy({ inside }: Place, source: FileObject, { force = false } = {}): Promise<Copying> {
  using target = TreeFolder.open(inside);
  const copying = new Copying(target, force, 'copying', {});
  const name = Buffer.from('top');
  await copyTree(copying, target, { name, path: Buffer.from('/top'), open: () => Promise.resolve(source) });
  return copying;
}

function expectUntouched({ inside, outside }: Place): void {
  expect(readdirSync(outside)).toEqual(['file']);
  expect(readFileSync(join(outside, 'file'), 'utf8')).toBe('mine');
  expect(lstatSync(join(outside, 'file')).mtimeMs).toBeGreaterThan(1000);
  expect(readdirSync(join(inside, '..')).sort()).toEqual(['in', 'outside']);
  expect(readdirSync(inside)).toEqual(['top']);
}

const modes = [{ force: false }, { force: true }];

test.each(modes)('names that could lead out of the folder are left out: %j', async (mode) => {
  const at = await place();
  const names = ['..', '.', '', '/', '../outside/new', '/etc/new', 'a/b', '../outside', 'x\0y', '..\0'];
  const copying = await copy(
    at,
    folder(...names.flatMap((name) => [[name, file()] as const, [name, folder()] as const])),
    mode,
  );
  expect(copying.leftOut.list).toHaveLength(2 * names.length);
  expect(readdirSync(join(at.inside, 'top'))).toEqual([]);
  expectUntouched(at);
});

test.each(modes)('nothing is written through a link that the image made before: %j', async (mode) => {
  const at = await place();
  for (const second of [folder(['file', file()], ['new', file()]), file(), link('elsewhere'), object('fifo')]) {
    const target = `${at.outside}${second.type === 'directory' ? '' : '/file'}`;
    const copying = await copy(at, folder(['x', link(target)], ['x', second]), mode);
    expect(copying.leftOut.list.length, second.type).toBe(mode.force && second.type !== 'directory' ? 0 : 1);
    expectUntouched(at);
    await copy(at, folder(['x', file()]), { force: true });
    rmSync(join(at.inside, 'top'), { recursive: true });
  }
});

test('nothing is written through a link that was there before', async () => {
  const at = await place();
  mkdirSync(join(at.inside, 'top'));
  symlinkSync(at.outside, join(at.inside, 'top', 'folder'));
  symlinkSync(join(at.outside, 'file'), join(at.inside, 'top', 'file'));
  symlinkSync(join(at.outside, 'new'), join(at.inside, 'top', 'fifo'));
  const source = folder(['folder', folder(['file', file()])], ['file', file()], ['fifo', object('fifo')]);
  const copying = await copy(at, source, { force: true });
  expect(copying.leftOut.list.map(({ path }) => path.toString())).toEqual(['/top/folder']);
  expect(readFileSync(join(at.inside, 'top', 'file'), 'utf8')).toBe('evil');
  expectUntouched(at);
});

test('a second name of a file that was replaced by a link becomes a copy, not a way out', async () => {
  const at = await place();
  const twice = object('file', { links: 2 });
  // Between its two names, a directory of the first one's name takes its place.
  const source = folder(['a', folder(['x', twice])], ['a', link(at.outside)], ['b', twice]);
  await copy(at, source, { force: true });
  expect(readFileSync(join(at.inside, 'top', 'b'), 'utf8')).toBe('evil');
  expectUntouched(at);
});

test('a second name is never given to what somebody else put in the place of the first', async () => {
  for (const swap of [
    (path: string) => writeFileSync(path, 'theirs'),
    (path: string) => symlinkSync('/etc/passwd', path),
    (path: string) => mkdirSync(path),
    () => {},
  ]) {
    const at = await place();
    const twice = object('file', { links: 3 });
    const first = join(at.inside, 'top', 'first');
    const meanwhile: FileObject = {
      ...file(),
      content: async () => {
        rmSync(first);
        swap(first);
        return await file().content();
      },
    };
    const source = folder(['first', twice], ['other', meanwhile], ['second', twice], ['third', twice]);
    const { counts, leftOut } = await copy(at, source);
    expect(leftOut.list).toEqual([]);
    for (const name of ['second', 'third']) {
      expect(readFileSync(join(at.inside, 'top', name), 'utf8'), name).toBe('evil');
    }
    expect(lstatSync(join(at.inside, 'top', 'third')).ino).toBe(lstatSync(join(at.inside, 'top', 'second')).ino);
    expect(lstatSync(join(at.inside, 'top', 'second')).nlink).toBe(2);
    expect(counts).toMatchObject({ files: 3, hardLinks: 1 });
    expectUntouched(at);
  }
});

test('a symbolic link that has two names is linked, not what it leads to', async () => {
  const at = await place();
  const twice = object('symlink', { target: `${at.outside}/file`, links: 2 });
  const { counts } = await copy(at, folder(['x', twice], ['y', twice]));
  expect(counts).toMatchObject({ symlinks: 1, hardLinks: 1 });
  expect(lstatSync(join(at.inside, 'top', 'y')).isSymbolicLink()).toBe(true);
  expect(lstatSync(join(at.inside, 'top', 'y')).ino).toBe(lstatSync(join(at.inside, 'top', 'x')).ino);
  expectUntouched(at);
});

test('a directory that holds itself is left out', async () => {
  const at = await place();
  const inner = folder();
  const outer: FileObject = {
    ...folder(),
    async *entries() {
      yield { name: Buffer.from('again'), id: outer.id, open: () => Promise.resolve(outer) };
      yield { name: Buffer.from('inner'), id: inner.id, open: () => Promise.resolve(inner) };
    },
  };
  const copying = await copy(at, outer);
  expect(copying.leftOut.list.map(({ path }) => path.toString())).toEqual(['/top/again']);
  expect(readdirSync(join(at.inside, 'top'))).toEqual(['inner']);
  expectUntouched(at);
});

test('a stop leaves no file that is not whole', async () => {
  const at = await place();
  const stop = new AbortController();
  const half: FileObject = {
    ...file(),
    content: async () => {
      stop.abort();
      return await file().content();
    },
  };
  using target = TreeFolder.open(at.inside);
  const copying = new Copying(target, false, 'copying', { signal: stop.signal });
  const source = folder(['one', file()], ['two', half], ['three', file()]);
  const all = { name: Buffer.from('top'), path: Buffer.from('/top'), open: () => Promise.resolve(source) };
  await expect(copyTree(copying, target, all)).rejects.toMatchObject({ code: 'CANCELLED' });
  expect(readdirSync(join(at.inside, 'top'))).toEqual(['one']);
});

test('damaged extended attributes are told, and take nothing else with them', async () => {
  const at = await place();
  const damaged = (whole: FileObject): FileObject => ({
    ...whole,
    xattrs: () => Promise.reject(DiskError.corrupt({ structure: 'extended attributes', field: 'h_magic' })),
  });
  const copying = await copy(
    at,
    folder(
      ['folder', damaged(folder(['in it', file()]))],
      ['file', damaged(file())],
      ['pipe', damaged(object('fifo'))],
    ),
  );
  for (const name of ['folder/in it', 'file']) expect(readFileSync(join(at.inside, 'top', name), 'utf8')).toBe('evil');
  expect(lstatSync(join(at.inside, 'top/pipe')).isFIFO()).toBe(true);
  expect(lstatSync(join(at.inside, 'top/folder')).mode & 0o777).toBe(0o755);
  expect(lstatSync(join(at.inside, 'top/folder')).mtimeMs).toBe(0);
  expect(copying.leftOut.list.map(({ path, reason }) => [path.toString(), reason.split(':')[0]])).toEqual(
    ['folder', 'file', 'pipe'].map((name) => [`/top/${name}`, 'its extended attributes are left out']),
  );
});
