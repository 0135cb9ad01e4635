import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect } from 'vitest';
import { damageDirectory, damageInode } from '../support/ext-damage.js';
import { type KernelFile, kernelFiles, kernelXattrs } from '../support/kernel-files.js';
import { needs } from '../support/needs.js';
import { populate } from '../support/populate.js';
import { attempt, disktool, disktoolPath, run } from '../support/run.js';
import { mountLoop, temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['mke2fs', 'debugfs'] });
const asRoot = needs({ programs: ['mke2fs', 'mount', 'getfattr', 'fallocate'], root: true });

/** An image with these files: contents by path; what begins with `->` is a link. */
async function image(
  files: Readonly<Record<string, string>>,
  mke2fs = '-t ext4 -O ^metadata_csum,^metadata_csum_seed',
): Promise<{ path: string; folder: string }> {
  const folder = await temporaryFolder();
  const [root, path] = [join(folder, 'root'), join(folder, 'disk.img')];
  mkdirSync(root);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(root, name, '..'), { recursive: true });
    if (content.startsWith('->')) symlinkSync(content.slice(2), join(root, name));
    else writeFileSync(join(root, name), content, { mode: 0o640 });
  }
  await run('mke2fs', ['-Fq', ...mke2fs.split(' '), '-d', root, path, '8M']);
  return { path, folder };
}

/** What {@link damageInode} and its like take. */
const plain = '-t ext4 -b 1024 -O ^metadata_csum,^metadata_csum_seed';

const files = {
  'etc/hostname': 'guest\n',
  'etc/link': '->hostname',
  'etc/way/out': '->/etc/hostname',
  'etc/up': '->../../../../etc/hostname',
  'etc/round': '->round',
  'a\nb': 'two lines',
  'back\\slash': 'one',
};

describe('cat', () => {
  it('prints the bytes of a file, and follows links within the filesystem', async () => {
    const { path } = await image(files);
    for (const name of [
      '/etc/hostname',
      'etc/link',
      '//etc/./way/../link',
      '/etc/way/out',
      '/etc/up',
      '/lost+found/../etc/up',
    ]) {
      expect(await disktool(['cat', path, '/dev/sda', name], { stripFinalNewline: false }), name).toMatchObject({
        status: 0,
        stdout: 'guest\n',
        stderr: '',
      });
    }
  });

  it('refuses what is no file, with the reason', async () => {
    const { path } = await image(files);
    const refusals: [string, number, string][] = [
      ['/etc', 2, '/etc is no regular file but a directory: list it by ls, or copy it by copy-out'],
      ['/etc/hostname/', 1, '/etc/hostname/: a part of it is no directory'],
      ['/etc/nothing', 1, '/etc/nothing: there is no such file'],
      ['/etc/round', 1, '/etc/round: symbolic links lead in a circle'],
    ];
    for (const [name, status, words] of refusals) {
      expect(await disktool(['cat', path, '/dev/sda', name]), name).toMatchObject({
        status,
        stdout: '',
        stderr: expect.stringContaining(words),
      });
    }
  });

  it('a reader that has seen enough is no error', async () => {
    const { path } = await image({ big: 'x'.repeat(3_000_000) });
    const script = '{ "$0" "$1" cat "$2" /dev/sda /big; echo " $?" >&2; } | head -c 5';
    const { stdout, stderr } = await attempt('sh', ['-c', script, process.execPath, disktoolPath, path]);
    expect({ stdout, stderr }).toEqual({ stdout: 'xxxxx', stderr: ' 0' });
  });
});

describe('ls', () => {
  it('names what is in a directory, a line each whatever the name', async () => {
    const { path } = await image(files);
    expect(await disktool(['ls', path, '/dev/sda', '/'])).toMatchObject({
      status: 0,
      stdout: 'a\\x0ab\nback\\\\slash\netc\nlost+found',
      stderr: '',
    });
    const { stdout } = await disktool(['ls', '-R', path, '/dev/sda', '/etc']);
    expect(stdout.split('\n')).toEqual([
      '/etc/hostname',
      '/etc/link',
      '/etc/round',
      '/etc/up',
      '/etc/way',
      '/etc/way/out',
    ]);
  });

  it('says of a link where it leads, and of a path that leads through one what is there', async () => {
    const { path } = await image(files);
    const { stdout } = await disktool(['ls', '-l', path, '/dev/sda', '/etc/link']);
    expect(stdout).toMatch(/^lrwxrwxrwx {3}1 +\d+ +\d+ +8 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ link -> hostname$/);
    const { stdout: through } = await disktool(['ls', path, '/dev/sda', '/etc/up', '--json']);
    expect(JSON.parse(through)).toMatchObject({ device: '/dev/sda', files: [{ type: 'file' }] });
  });

  it('prints one document with --json, also of an error', async () => {
    const { path } = await image(files);
    const { status, stdout, stderr } = await disktool(['ls', path, '/dev/sda', '/nothing', '--json']);
    expect({ status, stderr, ...JSON.parse(stdout) }).toMatchObject({ status: 1, stderr: '', code: 'NOT_FOUND' });
    expect(JSON.parse((await disktool(['ls', path, '/dev/sda', '/lost+found', '--json'])).stdout)).toEqual({
      device: '/dev/sda',
      files: [],
      leftOut: [],
    });
  });

  it('lists the others where something is damaged, names it, and says so by its status', async () => {
    const { path } = await image({ 'a/file': 'x', 'b/file': 'x', 'c/file': 'x', d: 'x' }, plain);
    await damageInode(path, '/a/file');
    await damageDirectory(path, '/b');
    for (const flags of ['-R', '-Rl']) {
      const { status, stdout, stderr } = await disktool(['ls', flags, path, '/dev/sda', '/']);
      expect(status).toBe(3);
      expect(stdout.split('\n').map((line) => line.replace(/^.* /, ''))).toEqual([
        '/a',
        '/b',
        '/c',
        '/c/file',
        '/d',
        '/lost+found',
      ]);
      expect(stderr.split('\n')).toEqual([
        expect.stringMatching(/^disktool: warning: \/a\/file is left out: ext4 inode \d+ .*i_mode is 0x0/),
        expect.stringMatching(/^disktool: warning: \/b: what else is in it is left out: .*rec_len/),
      ]);
    }
    const { status, stdout } = await disktool(['ls', '--json', path, '/dev/sda', '/a']);
    expect({ status, ...JSON.parse(stdout) }).toMatchObject({
      status: 3,
      files: [],
      leftOut: [{ path: '/a/file', reason: expect.stringContaining('i_mode') }],
    });
  });

  it('refuses a volume that holds no filesystem that it reads, and names it', async () => {
    const folder = await temporaryFolder();
    const path = join(folder, 'empty.img');
    await writeFile(path, Buffer.alloc(1 << 20));
    expect(await disktool(['ls', path, '/dev/sda', '/'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('/dev/sda of') && expect.stringContaining('holds no filesystem that is known'),
    });
  });
});

/** What GNU find prints of everything under a mount point, in the words of `ls -lR --json`, but for extended attributes. */
async function found(mountPoint: string): Promise<object[]> {
  const { stdout } = await execa(
    'find',
    [mountPoint, '-mindepth', '1', '-printf', '%P\\t%y\\t%i\\t%m\\t%U\\t%G\\t%s\\t%n\\t%T@\\t%A@\\t%l\\0'],
    {
      encoding: 'buffer',
      maxBuffer: 64 << 20,
    },
  );
  const types: Record<string, string> = {
    f: 'file',
    d: 'directory',
    l: 'symlink',
    c: 'char',
    b: 'block',
    p: 'fifo',
    s: 'socket',
  };
  const lines = Buffer.from(stdout).toString('latin1').split('\0').slice(0, -1);
  return lines.map((line) => {
    // A tab in a name is no end of it: what follows is counted from the end, and no link here leads to one.
    const parts = line.split('\t');
    const [type = '', inode, mode = '', uid, gid, size, links, modified = '', accessed = '', target] = parts.slice(-10);
    return {
      path: `/${Buffer.from(parts.slice(0, -10).join('\t'), 'latin1').toString()}`,
      type: types[type],
      inode: Number(inode),
      mode: mode.padStart(4, '0'),
      uid: Number(uid),
      gid: Number(gid),
      size: Number(size),
      links: Number(links),
      modified: isoOf(modified),
      accessed: isoOf(accessed),
      target: target === '' ? undefined : target,
    };
  });
}

/** Seconds, and behind a point the nanoseconds that are added to them, also before 1970. */
function isoOf(text: string): string {
  const [seconds, fraction = ''] = text.split('.');
  return new Date(Number(seconds) * 1000).toISOString().replace('.000Z', `.${fraction.slice(0, 9)}Z`);
}

asRoot(
  'ls says what find says of a mount',
  async () => {
    const path = join(await temporaryFolder(), 'ext.img');
    await writeFile(path, '');
    await run('mke2fs', ['-Fq', '-t', 'ext4', '-N', '4000', path, '200M']);
    const { mountPoint, unmount } = await mountLoop(path);
    await populate(mountPoint, { entries: 300, pieces: 100, reach: 1 << 24 });
    await unmount();
    const again = await mountLoop(path, ['ro']);
    const expected = await found(again.mountPoint);
    await again.unmount();
    const { stdout } = await disktool(['ls', '-lR', '--json', path, '/dev/sda', '/'], { maxBuffer: 64 << 20 });
    const listed: { device: string; files: Record<string, unknown>[] } = JSON.parse(stdout);
    const ours = listed.files.map(({ path, type, inode, mode, uid, gid, size, links, modified, accessed, target }) => {
      return { path, type, inode, mode, uid, gid, size, links, modified, accessed, target };
    });
    const byPath = (a: object, b: object) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
    expect(ours.sort(byPath)).toEqual(expected.sort(byPath));
  },
  60_000,
);

describe('copy-out', () => {
  it('copies into a folder, and replaces nothing unless told', async () => {
    const { path, folder } = await image(files);
    const out = join(folder, 'out');
    mkdirSync(out);
    const args = ['copy-out', '--quiet', path, '/dev/sda', '/etc/hostname', '/etc/link', '/etc/way', out];
    expect(await disktool(args)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('1 file (6), 1 directory, 2 symbolic links'),
    });
    expect(readFileSync(join(out, 'hostname'), 'utf8')).toBe('guest\n');
    expect(statSync(join(out, 'hostname')).mode & 0o777).toBe(0o640);
    writeFileSync(join(out, 'hostname'), 'mine');
    expect(await disktool(args)).toMatchObject({ status: 1, stderr: expect.stringContaining('is there already') });
    expect(readFileSync(join(out, 'hostname'), 'utf8')).toBe('mine');
    expect(await disktool([...args, '--force'])).toMatchObject({ status: 0 });
    expect(readFileSync(join(out, 'hostname'), 'utf8')).toBe('guest\n');
  });

  it('copies what is in the root, not the root', async () => {
    const { path, folder } = await image(files);
    const out = join(folder, 'out');
    mkdirSync(out, { mode: 0o751 });
    const { status, stdout } = await disktool(['copy-out', '--json', path, '/dev/sda', '/', out]);
    expect({ status, ...JSON.parse(stdout) }).toMatchObject({ status: 0, files: 3, leftOut: [] });
    expect(readdirSync(out).sort()).toEqual(['a\nb', 'back\\slash', 'etc', 'lost+found']);
    expect(statSync(out).mode & 0o777).toBe(0o751);
  });

  it('copies what can be read of a damaged root, and says so by its status', async () => {
    const names = Array.from({ length: 30 }, (_, i) => `${i}-${'long'.repeat(20)}`);
    const { path, folder } = await image(Object.fromEntries(names.map((name) => [name, name])), plain);
    await damageDirectory(path, '/');
    const out = join(folder, 'out');
    mkdirSync(out);
    const { status, stdout } = await disktool(['copy-out', '--json', path, '/dev/sda', '/', out]);
    const { files, leftOut } = JSON.parse(stdout);
    expect({ status, leftOut }).toEqual({
      status: 3,
      leftOut: [{ path: '/', reason: expect.stringContaining('what else is in it is left out: ') }],
    });
    expect(files).toBeGreaterThan(5);
    for (const name of readdirSync(out).filter((name) => name !== 'lost+found')) {
      expect(readFileSync(join(out, name), 'utf8')).toBe(name);
    }
    expect(readdirSync(out).filter((name) => name !== 'lost+found')).toHaveLength(files);
  });

  it('refuses a folder that is not there, two files of one name, and no folder at all', async () => {
    const { path, folder } = await image({ ...files, 'other/hostname': 'x' });
    const refusals: [readonly string[], number, string][] = [
      [['/etc', join(folder, 'nowhere')], 1, 'nowhere: there is no such folder: make it first'],
      [['/etc/hostname', '/other/hostname', folder], 2, 'have one name'],
      [['/etc/..', folder], 2, 'ends in no name'],
      [['/etc'], 2, 'last the folder'],
    ];
    for (const [args, status, words] of refusals) {
      expect(await disktool(['copy-out', '--quiet', path, '/dev/sda', ...args]), words).toMatchObject({
        status,
        stderr: expect.stringContaining(words),
      });
    }
    expect(readdirSync(folder).sort()).toEqual(['disk.img', 'root']);
  });

  it('leaves out what the image names to lead out of the folder', async () => {
    const { path, folder } = await image({ 'etc/good': 'good', 'etc/aa_evil': 'evil', 'tmp/aa_evil': 'evil' });
    const bytes = await readFile(path);
    for (let at = bytes.indexOf('aa_evil'); at !== -1; at = bytes.indexOf('aa_evil')) bytes.write('../evil', at);
    await writeFile(path, bytes);
    const out = join(folder, 'out');
    mkdirSync(out);
    const { status, stderr } = await disktool(['copy-out', path, '/dev/sda', '/', out]);
    expect({ status, stderr }).toMatchObject({ status: 3, stderr: expect.stringContaining('is left out') });
    expect(readdirSync(folder).sort()).toEqual(['disk.img', 'out', 'root']);
    expect(readdirSync(out).sort()).toEqual(['etc', 'lost+found', 'tmp']);
  });

  asRoot(
    'makes what "cp -a" makes',
    async () => {
      const folder = await temporaryFolder();
      const [path, ours, theirs] = [join(folder, 'ext.img'), join(folder, 'ours'), join(folder, 'theirs')];
      await writeFile(path, '');
      await run('mke2fs', ['-Fq', '-t', 'ext4', '-O', 'inline_data', '-N', '8000', path, '200M']);
      const { mountPoint, unmount } = await mountLoop(path);
      await populate(mountPoint, { entries: 500, pieces: 300, reach: 2 ** 31 + 2 ** 20 });
      await unmount();
      const again = await mountLoop(path, ['ro']);
      mkdirSync(theirs);
      await attempt('cp', ['-a', `${again.mountPoint}/.`, theirs]);
      await again.unmount();
      mkdirSync(ours);
      const { status, stdout } = await disktool(['copy-out', '--json', path, '/dev/sda', '/', ours]);
      expect({ status, ...JSON.parse(stdout) }).toMatchObject({ status: 0, leftOut: [] });
      const [expected, found] = [kernelFiles(theirs), kernelFiles(ours)];
      expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
      for (const [name, file] of expected) {
        const own = found.get(name);
        if (own === undefined || name === '/') continue;
        expect(likeness(own), name).toEqual(likeness(file));
        expect(own.stats.blocks, name).toBeLessThanOrEqual(file.stats.blocks);
      }
      expect(linked(found)).toEqual(linked(expected));
      const [theirXattrs, ourXattrs] = [await kernelXattrs(theirs), await kernelXattrs(ours)];
      theirXattrs.delete('/');
      ourXattrs.delete('/');
      expect(ourXattrs).toEqual(theirXattrs);
    },
    120_000,
  );

  asRoot('as a user that is not root keeps what it may, and names what it cannot make', async () => {
    const folder = await temporaryFolder();
    const [path, out] = [join(folder, 'ext.img'), join(folder, 'out')];
    await writeFile(path, '');
    await run('mke2fs', ['-Fq', '-t', 'ext4', path, '8M']);
    const { mountPoint, unmount } = await mountLoop(path);
    await run('mknod', [join(mountPoint, 'null'), 'c', '1', '3']);
    writeFileSync(join(mountPoint, 'setuid'), 'x');
    await run('chmod', ['6755', join(mountPoint, 'setuid')]);
    await unmount();
    mkdirSync(out);
    await run('chown', ['-R', '65534:65534', folder]);
    const args = [disktoolPath, 'copy-out', '--json', path, '/dev/sda', '/null', '/setuid', out];
    const { exitCode, stdout, stderr } = await execa(process.execPath, args, {
      uid: 65_534,
      gid: 65_534,
      reject: false,
    });
    expect({ exitCode, ...JSON.parse(stdout) }, stderr).toMatchObject({
      exitCode: 3,
      leftOut: [{ path: '/null', reason: expect.stringContaining('EPERM') }],
    });
    expect(statSync(join(out, 'setuid'))).toMatchObject({ uid: 65_534, mode: 0o100755 });
  });
});

/** What a copy keeps. */
function likeness({ stats, digest }: KernelFile): object {
  const { mode, uid, gid, nlink, rdev, atimeNs, mtimeNs, size } = stats;
  return { mode, uid, gid, nlink, rdev, atimeNs, mtimeNs, size: stats.isDirectory() ? 0n : size, digest };
}

/** Names that lead to one file, in groups. */
function linked(files: ReadonlyMap<string, KernelFile>): string[][] {
  const groups = new Map<bigint, string[]>();
  for (const [name, { stats }] of files) {
    if (stats.isFile()) groups.set(stats.ino, [...(groups.get(stats.ino) ?? []), name]);
  }
  return [...groups.values()]
    .map((names) => names.sort())
    .filter((names) => names.length > 1)
    .sort();
}
