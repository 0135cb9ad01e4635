import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type ManifestCommand, manPages, newestRelease } from '../../src/cli/man-page.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');

/** What oclif's manifest leaves out of arguments and flags. */
interface Declared {
  readonly default: {
    readonly args: Readonly<Record<string, { readonly ignoreStdin?: boolean; readonly description?: string }>>;
    readonly flags?: Readonly<Record<string, { readonly multiple?: boolean; readonly multipleNonGreedy?: boolean }>>;
  };
}

// `npm test` has just built it.
const manifest: { commands: Record<string, ManifestCommand> } = JSON.parse(read('oclif.manifest.json'));
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
    // oclif would show several lines as one command.
    for (const example of command.examples ?? []) {
      expect(typeof example === 'string' ? example : example.command).not.toContain('\n');
    }
  },
);

test.each(commands.map(({ id }) => id))('%s never fills an argument from standard input', async (id) => {
  const { default: command }: Declared = await import(`../../commands/${id}.ts`);
  for (const [name, arg] of Object.entries(command.args)) {
    expect(arg, name).toMatchObject({ ignoreStdin: true, description: expect.any(String) });
  }
});

test.each(commands.map(({ id }) => id))(
  '%s has no repeatable flag that swallows the arguments after it',
  async (id) => {
    const { default: command }: Declared = await import(`../../commands/${id}.ts`);
    for (const [name, flag] of Object.entries(command.flags ?? {})) {
      if (flag.multiple === true) expect(flag, name).toMatchObject({ multipleNonGreedy: true });
    }
  },
);

test.each(commands.map((command) => [command.id, command] as const))(
  '%s says what each flag is for',
  (_, { flags }) => {
    for (const { name, summary } of Object.values(flags)) if (name !== 'json') expect(summary, name).toMatch(/[^.]$/);
  },
);

test('the changelog begins with the version of the package', () => {
  expect(newestRelease(read('CHANGELOG.md')).version).toBe(version);
});

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
  const pages = manPages(commands, newestRelease(read('CHANGELOG.md')), description);
  expect(readdirSync(new URL('man/', root)).sort()).toEqual(pages.map(({ file }) => file).sort());
  for (const { file, text } of pages) expect(read(`man/${file}`), file).toBe(text);
});

needs({ programs: ['mandoc'] })('mandoc finds nothing wrong with the pages', async () => {
  const pages = readdirSync(new URL('man/', root)).map((file) => new URL(`man/${file}`, root).pathname);
  expect(await run('mandoc', ['-Tlint', '-Wwarning', ...pages])).toBe('');
});
