import { existsSync, realpathSync } from 'node:fs';
import { mkdir, readdir, symlink, truncate, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { expect, test } from 'vitest';
import { needs } from '../support/needs.js';
import { attempt, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const root = new URL('../../', import.meta.url).pathname;

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string; readonly mode: number }[];
}

function isPacked(value: unknown): value is Packed {
  return typeof value === 'object' && value !== null && 'filename' in value && 'files' in value;
}

/** What is built already: `npm test` builds first, and a build here would pull dist/ away from under other tests. */
async function pack(folder: string, ...options: string[]): Promise<Packed> {
  const output = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder, ...options], {
    cwd: root,
  });
  const [packed]: unknown[] = JSON.parse(output);
  if (!isPacked(packed)) throw new Error(`npm pack said: ${output}`);
  return packed;
}

/** Every command's words: `freeze` of commands/freeze.ts. */
async function commandNames(): Promise<string[]> {
  const files = await readdir(join(root, 'commands'), { recursive: true });
  return files.filter((path) => path.endsWith('.ts')).map((path) => path.slice(0, -3).replaceAll('/', '-'));
}

test('packs the program, its manifest, its man pages and its licence, and nothing else', async () => {
  const { files } = await pack(await temporaryFolder(), '--dry-run');
  const paths = files.map(({ path }) => path);
  const names = await commandNames();
  expect(paths).toEqual(
    expect.arrayContaining([
      'package.json',
      'LICENSE',
      'README.md',
      'CHANGELOG.md',
      'oclif.manifest.json',
      'bin/run.js',
      'dist/src/index.js',
      'dist/src/index.d.ts',
      'dist/src/cli/run.js',
      ...names.flatMap((name) => [`dist/commands/${name}.js`, `man/disktool-${name}.1`]),
    ]),
  );
  const known = /^(package\.json|LICENSE|README\.md|CHANGELOG\.md|oclif\.manifest\.json|bin\/run\.js|man\/.*\.1)$/;
  const compiled = /^dist\/(src|commands)\/.*\.(js|d\.ts)$/;
  expect(paths.filter((path) => !known.test(path) && !compiled.test(path))).toEqual([]);
  expect((files.find(({ path }) => path === 'bin/run.js')?.mode ?? 0) & 0o111).toBe(0o111);
});

function onPath(name: string): string | undefined {
  const places = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name));
  return places.find((place) => existsSync(place));
}

/** A folder with node and a shell, and no compiler of any kind: the whole PATH. */
async function bareFolder(): Promise<string> {
  const folder = join(await temporaryFolder(), 'bin');
  await mkdir(folder);
  await symlink(process.execPath, join(folder, 'node'));
  for (const name of ['sh', 'env', 'uname', 'getconf', 'ldd']) {
    const program = onPath(name);
    if (program !== undefined) await symlink(program, join(folder, name));
  }
  return folder;
}

/** npm as a script, which needs no PATH to be started. */
function npmProgram(): string {
  const npm = onPath('npm');
  if (npm === undefined) throw new Error('needs npm');
  return realpathSync(npm);
}

const slowly = needs({ slow: true });

slowly(
  'installs and works where nothing can be compiled: koffi takes over from fs-ext',
  async () => {
    const folder = await temporaryFolder();
    const { filename } = await pack(folder);
    const project = join(folder, 'project');
    await mkdir(project);
    await writeFile(join(project, 'package.json'), '{ "name": "project", "version": "1.0.0", "private": true }\n');
    const bare = { cwd: project, extendEnv: false, env: { PATH: await bareFolder(), HOME: folder } };
    const cache = (await run('npm', ['config', 'get', 'cache'], { cwd: root })).trim();
    const registry = (await run('npm', ['config', 'get', 'registry'], { cwd: root })).trim();
    const installed = await attempt(
      process.execPath,
      [
        ...[npmProgram(), 'install', '--prefer-offline', '--no-audit', '--no-fund', '--cache', cache],
        ...['--registry', registry, join(folder, filename)],
      ],
      bare,
    );
    expect(installed.stderr).not.toMatch(/npm error/);
    expect(installed.status).toBe(0);
    const modules = await readdir(join(project, 'node_modules'));
    expect(modules).toContain('koffi');
    expect(modules).not.toContain('fs-ext');

    const disktool = join(project, 'node_modules/.bin/disktool');
    const version = await attempt(disktool, ['--version'], bare);
    expect(version.stdout).toMatch(/^disktool\/\d+\.\d+\.\d+ /);
    await writeFile(join(project, 'a.img'), '');
    await truncate(join(project, 'a.img'), 1 << 20);
    const listed = await attempt(disktool, ['filesystems', 'a.img', '--json'], bare);
    expect(listed).toMatchObject({ status: 0, stderr: '' });
    expect(typeof JSON.parse(listed.stdout)).toBe('object');

    const imports =
      "import { NbdServer } from 'disktool/nbd'; import { copyImage } from 'disktool'; console.log(NbdServer.name, copyImage.name)";
    const imported = await attempt(process.execPath, ['--input-type=module', '--eval', imports], bare);
    expect(imported).toMatchObject({ status: 0, stdout: 'NbdServer copyImage' });
  },
  300_000,
);

const nightly = needs({ nightly: true });

for (const major of [22, 24]) {
  const npx = (...args: string[]) =>
    attempt('npx', ['--yes', '--prefer-offline', '-p', `node@${major}`, 'node', ...args], { cwd: root });

  slowly(
    `starts and reads an image on Node ${major}`,
    async () => {
      const image = join(await temporaryFolder(), 'a.img');
      await writeFile(image, '');
      await truncate(image, 1 << 20);
      // Both in one: npx takes seconds.
      const script = `const { execFileSync } = require('node:child_process');
        for (const args of [['--version'], ['filesystems', ${JSON.stringify(image)}, '--json']])
          process.stdout.write(execFileSync(process.execPath, ['bin/run.js', ...args]));`;
      const { status, stdout } = await npx('-e', script);
      expect(status).toBe(0);
      expect(stdout).toContain(`node-v${major}.`);
      expect(stdout).toContain('"entries"');
    },
    300_000,
  );

  nightly(
    `keeps every promise of its devices on Node ${major}`,
    async () => {
      const args = [
        'node_modules/vitest/vitest.mjs',
        'run',
        'test/conformance',
        'test/host',
        'test/binary',
        'test/device',
      ];
      const { status, stdout } = await npx(...args);
      expect({ status, stdout: status === 0 ? '' : stdout }).toEqual({ status: 0, stdout: '' });
    },
    600_000,
  );
}
