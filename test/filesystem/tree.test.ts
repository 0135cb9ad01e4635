import { expect, test } from 'vitest';
import { DiskError } from '../../src/error/disk-error.js';
import type { FileObject } from '../../src/filesystem/file.js';
import { childPath, lookUp, type Tree, walkTree } from '../../src/filesystem/tree.js';
import { object } from '../support/hostile-tree.js';

const file = () => object('file');
const folder = (...entries: (readonly [string, FileObject])[]) => object('directory', { entries });
const link = (target: string) => object('symlink', { target });
const tree = (root: FileObject): Tree => ({ name: 'ext4 on a.img', root });

async function paths(root: FileObject, options: Parameters<typeof walkTree>[1] = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of walkTree(tree(root), options)) found.push(path.toString());
  return found;
}

const wanted = file();
const usr = folder(['bin', folder(['sh', wanted])], ['up', link('..')]);
const root = folder(
  ['usr', usr],
  ['bin', link('usr/bin')],
  ['absolute', link('/bin')],
  ['above', link('../../..')],
  ['a', link('b')],
  ['b', link('a')],
  ['nowhere', link('x')],
  ['plain', file()],
);

test.each([
  '/usr/bin/sh',
  'usr/bin/sh',
  '//usr///bin/./sh',
  '/bin/sh',
  '/absolute/sh',
  '/usr/up/bin/sh',
  '/above/usr/../bin/sh',
  '/../../usr/bin/sh',
])('%s leads to one file', async (path) => {
  expect(await lookUp(tree(root), path)).toBe(wanted);
});

test.each([
  ['/usr/nothing', 'there is no such file'],
  ['/nowhere', 'there is no such file'],
  ['/a', 'symbolic links lead in a circle'],
  ['/plain/', 'a part of it is no directory'],
  ['/plain/x', 'a part of it is no directory'],
])('%s leads nowhere', async (path, words) => {
  await expect(lookUp(tree(root), path)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: `${path}: ${words} (ext4 on a.img)`,
  });
});

test('the last link is followed or not, as asked, and always with a slash behind it', async () => {
  expect(await lookUp(tree(root), '/bin', { follow: false })).toMatchObject({ type: 'symlink' });
  expect(await lookUp(tree(root), '/bin/', { follow: false })).toMatchObject({ type: 'directory' });
  expect(await lookUp(tree(root), '/')).toBe(root);
  expect(await lookUp(tree(root), '')).toBe(root);
});

test('a walk comes to each directory before what is in it, in its own order or by name', async () => {
  const small = folder(['c', file()], ['a', folder(['z', file()], ['y', file()])], ['b', link('a')]);
  expect(await paths(small)).toEqual(['/', '/c', '/a', '/a/z', '/a/y', '/b']);
  expect(await paths(small, { sorted: true })).toEqual(['/', '/a', '/a/y', '/a/z', '/b', '/c']);
  expect(await paths(small, { depth: 1 })).toEqual(['/', '/c', '/a', '/b']);
  expect(await paths(small, { depth: 0 })).toEqual(['/']);
  expect(await paths(small, { from: '/b/' })).toEqual(['/b', '/b/z', '/b/y']);
  expect(await paths(small, { from: 'c' })).toEqual(['/c']);
});

test('a directory with two names, or within itself, is refused', async () => {
  const twice = folder(['x', file()]);
  const within = folder();
  const round: FileObject = {
    ...within,
    async *entries() {
      yield { name: Buffer.from('again'), id: within.id, open: () => Promise.resolve(round) };
    },
  };
  for (const bad of [folder(['a', twice], ['b', twice]), folder(['a', round]), round]) {
    await expect(paths(bad)).rejects.toMatchObject({ code: 'CORRUPT' });
  }
});

test('a walk that is told of damage goes on without what is damaged', async () => {
  const damage = DiskError.corrupt({ structure: 'inode' });
  const broken = (name: string) => ({ name: Buffer.from(name), id: 1n, open: () => Promise.reject(damage) });
  const whole = file();
  const half: FileObject = {
    ...folder(),
    async *entries() {
      yield { name: Buffer.from('good'), id: whole.id, open: () => Promise.resolve(whole) };
      yield broken('bad');
      throw damage;
    },
  };
  const twice = folder(['x', file()]);
  const damaged = folder(['half', half], ['one', twice], ['other', twice], ['last', file()]);
  for (const sorted of [true, false]) {
    const told: string[] = [];
    const found = await paths(damaged, { sorted, onDamaged: ({ path, what }) => told.push(`${path}: ${what}`) });
    expect(found.sort()).toEqual(['/', '/half', '/half/good', '/last', '/one', '/one/x']);
    expect(told).toEqual(['/half/bad: file', '/half: rest of directory', '/other: file']);
  }
  await expect(paths(damaged)).rejects.toBe(damage);
});

test('folders that lie too deep in each other are refused', async () => {
  let deep = folder();
  for (let i = 0; i < 5000; i++) deep = folder(['x', deep]);
  await expect(paths(deep)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});

test('a walk stops when it is told to', async () => {
  const stop = new AbortController();
  const walk = walkTree(tree(folder(['a', file()], ['b', file()])), { signal: stop.signal });
  await walk.next();
  stop.abort();
  await expect(walk.next()).rejects.toMatchObject({ code: 'CANCELLED' });
});

test('the path of a name in the root has one slash', () => {
  expect(childPath(Buffer.from('/'), Buffer.from('a')).toString()).toBe('/a');
  expect(childPath(Buffer.from('/a'), Buffer.from('b')).toString()).toBe('/a/b');
});
