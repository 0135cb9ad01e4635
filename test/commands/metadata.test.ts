import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type ManifestArg, type ManifestCommand, type ManifestFlag, manPages } from '../../src/cli/man-page.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');

interface Command extends ManifestCommand {
  readonly args: Readonly<Record<string, ManifestArg & { readonly ignoreStdin?: boolean }>>;
  readonly flags: Readonly<Record<string, ManifestFlag & { readonly multipleNonGreedy?: boolean }>>;
}

// `npm test` has just built it.
const manifest: { commands: Record<string, Command> } = JSON.parse(read('oclif.manifest.json'));
const commands = Object.values(manifest.commands);
const { version, description } = JSON.parse(read('package.json'));

test('every command file is in the manifest', () => {
  const files = readdirSync(new URL('commands/', root)).map((file) => file.replace(/\.ts$/, ''));
  expect(commands.map(({ id }) => id).sort()).toEqual(files.sort());
});

test.each(commands.map((command) => [command.id, command] as const))(
  '%s says what it is for, with examples',
  (_, command) => {
    expect(command.summary).toMatch(/^[a-z].*[^.]$/);
    expect(command.examples?.length).toBeGreaterThan(0);
  },
);

test.each(commands.map((command) => [command.id, command] as const))(
  '%s never fills an argument from standard input',
  (_, { args }) => {
    for (const arg of Object.values(args))
      expect(arg, arg.name).toMatchObject({ ignoreStdin: true, description: expect.any(String) });
  },
);

test.each(commands.map((command) => [command.id, command] as const))(
  '%s has no repeatable flag that swallows the arguments after it, and a summary for each flag',
  (_, { flags }) => {
    for (const flag of Object.values(flags)) {
      if (flag.name === 'json') continue;
      expect(flag.summary, flag.name).toMatch(/[^.]$/);
      if (flag.multiple === true) expect(flag, flag.name).toMatchObject({ multipleNonGreedy: true });
    }
  },
);

test('names of commands, arguments and flags change only on purpose', () => {
  const shape = commands
    .sort((a, b) => a.id.localeCompare(b.id))
    .map(({ id, args, flags }) => {
      const flagNames = Object.values(flags).map(({ name, type }) => (type === 'boolean' ? `--${name}` : `--${name}=`));
      return [id, ...Object.values(args).map(({ name }) => name.toUpperCase()), ...flagNames.sort()].join(' ');
    });
  expect(shape).toMatchSnapshot();
});

test('man/ is what the commands say of themselves: run `npm run man`', () => {
  const pages = manPages(commands, version, description);
  expect(readdirSync(new URL('man/', root)).sort()).toEqual(pages.map(({ file }) => file).sort());
  for (const { file, text } of pages) expect(read(`man/${file}`), file).toBe(text);
});

needs({ programs: ['mandoc'] })('mandoc finds nothing wrong with the pages', async () => {
  const pages = readdirSync(new URL('man/', root)).map((file) => new URL(`man/${file}`, root).pathname);
  expect(await run('mandoc', ['-Tlint', '-Wwarning', ...pages])).toBe('');
});
