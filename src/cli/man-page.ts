/** Manual pages in man(7)'s language, made of the commands' own metadata. */

/** What oclif's manifest says of a flag. */
export interface ManifestFlag {
  readonly name: string;
  readonly char?: string;
  readonly type: 'boolean' | 'option';
  readonly summary?: string;
  readonly description?: string;
  readonly helpValue?: string | readonly string[];
  readonly options?: readonly string[];
  readonly default?: unknown;
  readonly multiple?: boolean;
  readonly allowNo?: boolean;
  readonly hidden?: boolean;
}

/** What oclif's manifest says of an argument. */
export interface ManifestArg {
  readonly name: string;
  readonly description?: string;
  readonly required?: boolean;
  readonly multiple?: boolean;
}

/** What oclif's manifest says of a command. */
export interface ManifestCommand {
  readonly id: string;
  readonly summary?: string;
  readonly description?: string;
  readonly usage?: string | readonly string[];
  readonly examples?: readonly (string | { readonly description?: string; readonly command: string })[];
  readonly args: Readonly<Record<string, ManifestArg>>;
  readonly flags: Readonly<Record<string, ManifestFlag>>;
}

/** What stands at the head of the changelog. */
export interface Release {
  readonly version: string;
  /** `2026-11-24` */
  readonly date: string;
}

export interface ManPage {
  /** `disktool-sparsify.1` */
  readonly file: string;
  readonly text: string;
}

const exitStatuses: readonly (readonly [string, string])[] = [
  ['0', 'Done. What is simply not supported, an EFI partition say, is a note.'],
  ['1', 'Failed.'],
  ['2', 'Wrong usage.'],
  [
    '3',
    'The rest is done, but a filesystem was refused for its state (not clean, damaged, hibernated, ambiguous, overlapping) by a verb that would have changed it; with --strict, also when anything else was left alone.',
  ],
  ['128+n', 'Ended by signal n.'],
];

/** Verbs that leave filesystems alone for their state. */
const judgesStates: readonly string[] = ['copy', 'sparsify', 'zerofill'];
/** Of all others. */
const plainStatuses: typeof exitStatuses = [
  ['0', 'Done.'],
  ['1', 'Failed.'],
  ['2', 'Wrong usage.'],
  ['128+n', 'Ended by signal n.'],
];

/** Of a verb whose status is an answer, or somebody else's. */
const ownStatuses: Readonly<Record<string, typeof exitStatuses>> = {
  compare: [
    ['0', 'The images are the same.'],
    ['1', 'They differ.'],
    ['2', 'An image cannot be opened, or wrong usage.'],
    ['3', 'What an image has allocated cannot be told.'],
    ['4', 'An image cannot be read.'],
    ['128+n', 'Ended by signal n.'],
  ],
  serve: [
    ['0', 'Ended in good order, by a signal too. What --free-as-holes leaves alone is a warning.'],
    ['1', 'Failed.'],
    ['2', 'Wrong usage.'],
    ['n', 'With --run: that of the command.'],
  ],
  bmap: [
    ['0', 'Done.'],
    ['1', 'Failed.'],
    ['2', 'Wrong usage.'],
    ['3', 'The rest is told, but something was left out.'],
    ['128+n', 'Ended by signal n.'],
  ],
  ls: [
    ['0', 'Done.'],
    ['1', 'Failed.'],
    ['2', 'Wrong usage.'],
    ['3', 'The rest is listed, but something damaged was left out.'],
    ['128+n', 'Ended by signal n.'],
  ],
  'copy-out': [
    ['0', 'Done.'],
    ['1', 'Failed.'],
    ['2', 'Wrong usage.'],
    ['3', 'The rest is copied, but something was left out.'],
    ['128+n', 'Ended by signal n.'],
  ],
};

/** The newest release of a changelog whose headings are `## VERSION, DATE`. */
export function newestRelease(changelog: string): Release {
  const [, version, date] = /^## (\S+), (\d{4}-\d\d-\d\d)$/m.exec(changelog) ?? [];
  if (version === undefined || date === undefined) throw new Error('the changelog names no release');
  return { version, date };
}

/** One page a command, and the page that lists them. */
export function manPages(commands: readonly ManifestCommand[], release: Release, purpose: string): ManPage[] {
  const sorted = [...commands].sort((a, b) => a.id.localeCompare(b.id));
  return [overview(sorted, release, purpose), ...sorted.map((command) => page(command, sorted, release))];
}

function overview(commands: readonly ManifestCommand[], release: Release, purpose: string): ManPage {
  const text = lines(
    heading('DISKTOOL', release),
    section('NAME', 'disktool \\- guest disk maintenance toolkit'),
    section('SYNOPSIS', '.B disktool', '.I COMMAND', '[arguments and flags]'),
    section('DESCRIPTION', roff(`${purpose}.`)),
    section(
      'COMMANDS',
      ...commands.flatMap(({ id, summary }) => ['.TP', `.BR disktool\\-${roff(id)} (1)`, roff(summary ?? '')]),
    ),
    statuses(),
    section('SEE ALSO', references(commands.map(({ id }) => id))),
  );
  return { file: 'disktool.1', text: `${text}\n` };
}

function page(command: ManifestCommand, all: readonly ManifestCommand[], release: Release): ManPage {
  const { id, summary = '', description = '', examples = [] } = command;
  const flags = Object.values(command.flags).filter(({ hidden }) => hidden !== true);
  const args = Object.values(command.args);
  const text = lines(
    heading(`DISKTOOL-${id.toUpperCase()}`, release),
    section('NAME', `disktool\\-${roff(id)} \\- ${roff(summary)}`),
    section('SYNOPSIS', ...synopsis(command, args)),
    section('DESCRIPTION', ...paragraphs(description)),
    args.length > 0 &&
      section(
        'ARGUMENTS',
        ...args.flatMap((arg) => ['.TP', `.I ${roff(arg.name.toUpperCase())}`, sentence(arg.description)]),
      ),
    section('OPTIONS', ...flags.flatMap(option)),
    examples.length > 0 && section('EXAMPLES', ...examples.flatMap((example, i) => exampleLines(example, id, i === 0))),
    statuses(ownStatuses[id] ?? (judgesStates.includes(id) ? exitStatuses : plainStatuses)),
    section('SEE ALSO', references(['', ...all.map((other) => other.id).filter((other) => other !== id)])),
  );
  return { file: `disktool-${id}.1`, text: `${text}\n` };
}

function heading(title: string, { version, date }: Release): string {
  return `.TH ${roff(title)} 1 "${date}" "disktool ${version}" "disktool manual"`;
}

function section(title: string, ...body: readonly string[]): string {
  return lines(`.SH ${title}`, ...body);
}

function statuses(known = exitStatuses): string {
  return section('EXIT STATUS', ...known.flatMap(([status, meaning]) => ['.TP', `.B ${status}`, roff(meaning)]));
}

function synopsis({ id, usage }: ManifestCommand, args: readonly ManifestArg[]): string[] {
  if (usage !== undefined) {
    const forms = typeof usage === 'string' ? [usage] : usage;
    return forms.flatMap((form, i) => [
      ...(i === 0 ? [] : ['.br']),
      `.B disktool ${roff(id)}`,
      // As oclif's help wants it, a form begins with the name of the verb.
      roff(form.startsWith(`${id} `) ? form.slice(id.length + 1) : form),
    ]);
  }
  const names = args.map(({ name, required, multiple }) => {
    const shown = `${name.toUpperCase()}${multiple === true ? ' ...' : ''}`;
    return required === true ? shown : `[${shown}]`;
  });
  return [`.B disktool ${roff(id)}`, roff([...names, '[flags]'].join(' '))];
}

function option(flag: ManifestFlag): string[] {
  const { name, char, type, helpValue, options, allowNo, summary, description } = flag;
  const value = type === 'boolean' ? '' : ` ${options?.join('|') ?? [helpValue ?? 'VALUE'].flat().join(' ')}`;
  const long = allowNo === true ? `--[no-]${name}` : `--${name}`;
  const tags = [char && `-${char}`, long].filter((tag) => tag !== undefined && tag !== '');
  return [
    '.TP',
    `.B ${roff(`${tags.join(', ')}${value}`)}`,
    sentence(summary),
    ...(description ? [roff(description)] : []),
    ...defaultOf(flag),
  ];
}

function defaultOf({ type, default: value }: ManifestFlag): string[] {
  if (type === 'boolean' || value === undefined || typeof value === 'object') return [];
  return [roff(`Default: ${String(value)}.`)];
}

function exampleLines(
  example: string | { readonly description?: string; readonly command: string },
  id: string,
  first: boolean,
): string[] {
  const { description, command } = typeof example === 'string' ? { description: undefined, command: example } : example;
  const shown = command.replaceAll('<%= config.bin %>', 'disktool').replaceAll('<%= command.id %>', id);
  const code = ['.nf', '.RS', roff(shown), '.RE', '.fi'];
  const paragraphs = description === undefined ? [code] : [[`${roff(description)}:`], code];
  return paragraphs.flatMap((lines, i) => (first && i === 0 ? lines : ['.PP', ...lines]));
}

function references(ids: readonly string[]): string {
  const names = ids.map((id) => `.BR disktool${id === '' ? '' : `\\-${roff(id)}`} (1)`);
  return names.map((name, i) => (i === names.length - 1 ? name : `${name},`)).join('\n');
}

function paragraphs(text: string): string[] {
  return text
    .split(/\n\s*\n/)
    .flatMap((paragraph, i) => [...(i === 0 ? [] : ['.PP']), roff(paragraph.replace(/\s*\n\s*/g, ' '))]);
}

function sentence(text = ''): string {
  const start = text.charAt(0).toUpperCase() + text.slice(1);
  return roff(start === '' || start.endsWith('.') ? start : `${start}.`);
}

function lines(...parts: readonly (string | false)[]): string {
  return parts.filter((part) => part !== false && part !== '').join('\n');
}

/** Text that means itself: no escape, no request at the start of a line, hyphens that can be copied. */
function roff(text: string): string {
  return text
    .trim()
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/gm, '\\&');
}
