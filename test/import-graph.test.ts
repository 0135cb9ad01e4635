import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';

const root = new URL('../', import.meta.url).pathname;

/** What each folder may import besides itself: the house's steps, one down and none back up. */
const below = { foundation: ['binary', 'host', 'error'] };
const allowed: Readonly<Record<string, readonly string[]>> = {
  error: [],
  host: ['error', 'binary'],
  binary: ['error'],
  device: [...below.foundation],
  nbd: ['device', ...below.foundation],
  fuse: ['device', ...below.foundation],
  machine: ['host', 'error'],
  image: ['nbd', 'fuse', 'device', ...below.foundation],
  volume: ['image', 'nbd', 'fuse', 'device', ...below.foundation],
  filesystem: ['device', ...below.foundation],
  guest: ['filesystem', 'volume', 'image', 'nbd', 'fuse', 'device', ...below.foundation],
  task: ['machine', 'guest', 'filesystem', 'volume', 'image', 'nbd', 'fuse', 'device', ...below.foundation],
  cli: ['task', 'machine', 'guest', 'filesystem', 'volume', 'image', 'nbd', 'fuse', 'device', ...below.foundation],
};

/** Packages that reach Linux itself. */
const hostOnly = ['koffi', 'fs-ext', 'execa', 'child_process', 'node:child_process'];

interface Import {
  /** Path from the root for a file of ours, else the package's name. */
  readonly target: string;
  readonly typeOnly: boolean;
  /** Loaded when it is come to, not with the module. */
  readonly late: boolean;
}

interface Module {
  readonly path: string;
  readonly text: string;
  readonly source: ts.SourceFile;
  readonly imports: readonly Import[];
}

function isTypeOnly(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) return node.isTypeOnly;
  const clause = node.importClause;
  if (clause === undefined) return false;
  const { namedBindings } = clause;
  const onlyTypes =
    clause.name === undefined &&
    namedBindings !== undefined &&
    ts.isNamedImports(namedBindings) &&
    namedBindings.elements.every((element) => element.isTypeOnly);
  return clause.phaseModifier === ts.SyntaxKind.TypeKeyword || onlyTypes;
}

async function readModule(path: string): Promise<Module> {
  const text = await readFile(join(root, path), 'utf8');
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const imports: Import[] = [];
  const add = (specifier: string, { typeOnly = false, late = false }) => {
    const ours = specifier.startsWith('.');
    const target = ours ? normalize(join(dirname(path), specifier)).replace(/\.js$/, '.ts') : specifier;
    imports.push({ target, typeOnly, late });
  };
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier !== undefined) {
      if (ts.isStringLiteral(node.moduleSpecifier)) add(node.moduleSpecifier.text, { typeOnly: isTypeOnly(node) });
    } else if (ts.isCallExpression(node)) {
      const [argument] = node.arguments;
      const imported = node.expression.kind === ts.SyntaxKind.ImportKeyword;
      const required = /\brequire\b|createRequire/.test(node.expression.getText());
      if ((imported || required) && argument !== undefined && ts.isStringLiteral(argument))
        add(argument.text, { late: imported });
    }
    node.forEachChild(visit);
  };
  visit(source);
  return { path, text, source, imports };
}

async function modulesOf(...folders: string[]): Promise<Module[]> {
  const found: Module[] = [];
  for (const folder of folders) {
    for (const file of await readdir(join(root, folder), { recursive: true })) {
      if (file.endsWith('.ts')) found.push(await readModule(join(folder, file)));
    }
  }
  return found.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

const modules = await modulesOf('src', 'commands');
const byPath = new Map(modules.map((module) => [module.path, module]));
const folderOf = (path: string) => /^src\/([^/]+)\//.exec(path)?.[1];
const isEntry = (path: string) => /^src\/[^/]+\.ts$/.test(path);

test('every folder under src has its place in the order', () => {
  const folders = new Set(modules.map(({ path }) => folderOf(path)).filter((folder) => folder !== undefined));
  expect([...folders].filter((folder) => allowed[folder] === undefined)).toEqual([]);
});

test('imports between the folders point one way', () => {
  const wrong: string[] = [];
  for (const { path, imports } of modules) {
    const from = folderOf(path);
    for (const { target } of imports) {
      const to = folderOf(target);
      const backUp = target.startsWith('commands/') && !path.startsWith('commands/');
      const sideways = from !== undefined && to !== undefined && to !== from && !allowed[from]?.includes(to);
      const round = from !== undefined && isEntry(target);
      if (backUp || sideways || round) wrong.push(`${path} imports ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

test('a command calls the command line and one task, and knows no disk', () => {
  const wrong: string[] = [];
  for (const { path, imports } of modules.filter(({ path }) => path.startsWith('commands/'))) {
    for (const { target, typeOnly } of imports) {
      const folder = folderOf(target);
      // The public face of the NBD core has what an address is made of, its default port among others.
      const face = target === 'src/nbd/index.ts';
      const fine = folder === undefined || ['cli', 'task', 'error'].includes(folder) || face || typeOnly;
      if (!fine) wrong.push(`${path} imports ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

test('every import of ours is there, and ends in .js', () => {
  const wrong = modules.flatMap(({ path, imports }) =>
    imports
      .filter(({ target }) => /^(src|commands)\//.test(target) && !existsSync(join(root, target)))
      .map(({ target }) => `${path} imports ${target}`),
  );
  expect(wrong).toEqual([]);
});

test('only host reaches Linux', () => {
  const wrong = modules.flatMap(({ path, imports }) =>
    imports
      .filter(({ target }) => folderOf(path) !== 'host' && hostOnly.includes(target.split('/')[0] ?? target))
      .map(({ target }) => `${path} imports ${target}`),
  );
  expect(wrong).toEqual([]);
});

test('nothing under src but cli prints or exits', () => {
  const wrong: string[] = [];
  for (const { path, source } of modules) {
    // The guard is a process of its own, and ends itself.
    if (path.startsWith('src/cli/') || /^src\/host\/(freeze-)?guard[^/]*\.ts$/.test(path)) continue;
    const visit = (node: ts.Node): void => {
      if (ts.isPropertyAccessExpression(node)) {
        const name = node.getText();
        const ends = path.startsWith('src/') && /^process\.(stdout|stderr|exit|exitCode|abort)$/.test(name);
        if (/^console\./.test(name) || ends) wrong.push(`${path}: ${name}`);
      }
      node.forEachChild(visit);
    };
    visit(source);
  }
  expect(wrong).toEqual([]);
});

test('no module imports itself by way of others', () => {
  const finished = new Set<string>();
  const cycles: string[] = [];
  const walk = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at !== -1) cycles.push([...trail.slice(at), path].join(' -> '));
    if (at !== -1 || finished.has(path)) return;
    for (const { target, typeOnly } of byPath.get(path)?.imports ?? []) {
      if (!typeOnly && byPath.has(target)) walk(target, [...trail, path]);
    }
    finished.add(path);
  };
  for (const { path } of modules) walk(path, []);
  expect(cycles).toEqual([]);
});

test('only freeze and thaw load execa, which takes longer to load than the rest, before they start a program', () => {
  const loadedWith = (path: string, seen: Set<string>): Set<string> => {
    if (seen.has(path)) return seen;
    seen.add(path);
    for (const { target, typeOnly, late } of byPath.get(path)?.imports ?? []) {
      if (!typeOnly && !late) loadedWith(target, seen);
    }
    return seen;
  };
  const commands = modules.map(({ path }) => path).filter((path) => path.startsWith('commands/'));
  const loading = commands.filter((path) => loadedWith(path, new Set()).has('execa'));
  expect(loading).toEqual(['commands/freeze.ts', 'commands/thaw.ts']);
});

test('a file is one idea: 400 lines at most, 600 for the structures of a format, 120 for a command', () => {
  const limit = (path: string) => (path.startsWith('commands/') ? 120 : /on-(disk|wire)\.ts$/.test(path) ? 600 : 400);
  const long = modules
    .map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
    .filter(({ path, lines }) => lines > limit(path));
  expect(long).toEqual([]);
});
