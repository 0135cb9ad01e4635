import {
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { setTimes } from '../../src/host/times.js';
import { isPlainName, madeFile, TreeFolder } from '../../src/host/tree-folder.js';
import { needs } from '../support/needs.js';
import { temporaryFolder } from '../support/temporary.js';

/** A folder, and beside it one that nothing must reach. */
async function folders(): Promise<{ inside: string; outside: string }> {
  const root = await temporaryFolder();
  const [inside, outside] = [join(root, 'in'), join(root, 'out')];
  for (const folder of [inside, outside]) mkdirSync(folder);
  return { inside, outside };
}

const name = (text: string) => Buffer.from(text);

test.each(['', '.', '..', '/', 'a/b', '../a', '/a', 'a\0', '\0'])('%j is not one name', async (text) => {
  expect(isPlainName(name(text))).toBe(false);
  const { inside } = await folders();
  using folder = TreeFolder.open(inside);
  expect(() => folder.makeFolder(name(text))).toThrow(RangeError);
  expect(() => folder.create(name(text))).toThrow(RangeError);
  expect(() => folder.makeLink(name(text), name('x'))).toThrow(RangeError);
  expect(() => folder.child(name(text))).toThrow(RangeError);
  expect(() => folder.remove(name(text))).toThrow(RangeError);
  expect(readdirSync(inside)).toEqual([]);
});

test('makes folders, files, links and nodes of any names, with times to the nanosecond', async () => {
  const { inside } = await folders();
  using folder = TreeFolder.open(inside);
  const odd = Buffer.from([0xff, 0x0a, 0x5c]);
  folder.makeFolder(odd);
  using child = folder.child(odd);
  child.makeLink(name('link'), odd);
  child.makeNode(name('pipe'), 'fifo');
  const fd = child.createNameless() ?? child.create(name('temporary'));
  writeFileSync(fd, 'content');
  if (child.stat(name('temporary')) === undefined) child.nameFile(fd, name('file'));
  else child.rename(name('temporary'), name('file'), { replace: false });
  const times = { atimeNs: -1_500_000_001n, mtimeNs: 4_102_444_800_123_456_789n };
  setTimes(fd, times, 'file');
  const identity = madeFile(fd);
  closeSync(fd);
  using link = child.hold(name('link'), 'symlink');
  using pipe = child.hold(name('pipe'), 'fifo');
  pipe.setMode(0o640);
  for (const made of [link, pipe]) made.setTimes(times);
  {
    using held = child.holdSame(name('file'), identity);
    if (held === undefined) throw new Error('the file is not there');
    child.makeHardLink(name('again'), held);
    expect(child.holdSame(name('pipe'), identity)).toBeUndefined();
    expect(child.holdSame(name('nothing'), identity)).toBeUndefined();
  }
  const at = (of: string) => Buffer.concat([name(`${inside}/`), odd, name(`/${of}`)]);
  for (const of of ['link', 'pipe', 'file']) expect(lstatSync(at(of), { bigint: true })).toMatchObject(times);
  expect(readlinkSync(at('link'), { encoding: 'buffer' })).toEqual(odd);
  expect(lstatSync(at('pipe')).isFIFO()).toBe(true);
  expect(lstatSync(at('pipe')).mode & 0o7777).toBe(0o640);
  expect(readFileSync(at('again'), 'utf8')).toBe('content');
  expect(lstatSync(at('file')).nlink).toBe(2);
});

test('never follows a symbolic link', async () => {
  const { inside, outside } = await folders();
  writeFileSync(join(outside, 'file'), 'mine');
  symlinkSync(outside, join(inside, 'folder'));
  symlinkSync(join(outside, 'file'), join(inside, 'file'));
  symlinkSync(join(outside, 'new'), join(inside, 'nowhere'));
  using folder = TreeFolder.open(inside);
  expect(() => folder.child(name('folder'))).toThrow(expect.objectContaining({ errno: 'ENOTDIR' }));
  for (const of of ['file', 'nowhere']) {
    expect(() => folder.create(name(of))).toThrow(expect.objectContaining({ errno: 'EEXIST' }));
    expect(folder.stat(name(of))?.isSymbolicLink()).toBe(true);
    using link = folder.hold(name(of), 'symlink');
    link.setOwner(process.getuid?.() ?? 0, process.getgid?.() ?? 0);
    link.setTimes({ atimeNs: 1n, mtimeNs: 1n });
    link.setXattr('user.note', Buffer.from('x'));
    expect(() => link.setMode(0o777)).toThrow();
    expect(lstatSync(join(inside, of), { bigint: true }).mtimeNs).toBe(1n);
  }
  const before = lstatSync(join(outside, 'file'), { bigint: true });
  folder.rename(name('file'), name('renamed'), { replace: false });
  folder.remove(name('renamed'));
  expect(lstatSync(join(outside, 'file'), { bigint: true })).toEqual(before);
  expect(before.mtimeNs).toBeGreaterThan(1n);
  expect(readdirSync(outside)).toEqual(['file']);
});

test('attributes go to what was made, and to nothing that has taken its name', async () => {
  const { inside } = await folders();
  using folder = TreeFolder.open(inside);
  folder.makeNode(name('pipe'), 'fifo');
  using pipe = folder.hold(name('pipe'), 'fifo');
  writeFileSync(join(inside, 'file'), 'mine', { mode: 0o600 });
  folder.rename(name('file'), name('pipe'), { replace: true });
  const before = lstatSync(join(inside, 'pipe'), { bigint: true });
  pipe.setMode(0o4777);
  pipe.setTimes({ atimeNs: 1n, mtimeNs: 1n });
  expect(lstatSync(join(inside, 'pipe'), { bigint: true })).toEqual(before);
  expect(() => folder.hold(name('pipe'), 'fifo')).toThrow(expect.objectContaining({ code: 'UNSAFE' }));
  folder.makeNode(name('one'), 'fifo');
  linkSync(join(inside, 'one'), join(inside, 'two'));
  expect(() => folder.hold(name('one'), 'fifo')).toThrow(expect.objectContaining({ code: 'UNSAFE' }));
});

test('a name that is taken is not taken over unless asked', async () => {
  const { inside } = await folders();
  using folder = TreeFolder.open(inside);
  for (const of of ['old', 'new']) writeFileSync(join(inside, of), of);
  expect(() => folder.rename(name('new'), name('old'), { replace: false })).toThrow(
    expect.objectContaining({ errno: 'EEXIST' }),
  );
  folder.rename(name('new'), name('old'), { replace: true });
  expect(readFileSync(join(inside, 'old'), 'utf8')).toBe('new');
});

test('a folder that is not there is named', () => {
  expect(() => TreeFolder.open('/nowhere/at/all')).toThrow(
    expect.objectContaining({ code: 'NOT_FOUND', message: expect.stringContaining('/nowhere/at/all') }),
  );
});

needs({ root: true })('makes devices of any number, and keeps owners that have no name', async () => {
  const { inside } = await folders();
  using folder = TreeFolder.open(inside);
  folder.makeNode(name('device'), 'block', { major: 0xabc, minor: 0xfedcb });
  using device = folder.hold(name('device'), 'block');
  device.setOwner(4_000_000_000, 3_000_000_000);
  const { rdev, uid, gid } = lstatSync(join(inside, 'device'), { bigint: true });
  expect([uid, gid]).toEqual([4_000_000_000n, 3_000_000_000n]);
  expect([(rdev >> 8n) & 0xfffn, (rdev & 0xffn) | ((rdev >> 12n) & 0xfff00n)]).toEqual([0xabcn, 0xfedcbn]);
});
