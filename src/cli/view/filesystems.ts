import type { Entry, Listing } from '../../task/list-filesystems.js';
import { formatSize } from '../quantities.js';
import { type Column, table } from '../table.js';

const size = (bytes: bigint | undefined) => (bytes === undefined ? '-' : formatSize(bytes));
const text = (value: string) => (value === '' ? '-' : value);

const columns: readonly Column<Entry>[] = [
  { heading: 'Name', cell: ({ name }) => name },
  { heading: 'Type', cell: ({ type }) => type },
  { heading: 'VFS', cell: ({ vfs }) => text(vfs) },
  { heading: 'Label', cell: ({ label }) => text(label) },
  { heading: 'MBR', cell: ({ mbr }) => (mbr === undefined ? '-' : mbr.toString(16).padStart(2, '0')) },
  { heading: 'Size', align: 'right', cell: (entry) => size(entry.size) },
  { heading: 'FS size', align: 'right', cell: ({ filesystemSize }) => size(filesystemSize) },
  { heading: 'Used', align: 'right', cell: ({ used }) => size(used) },
  { heading: 'Free', align: 'right', cell: ({ free }) => size(free) },
  { heading: 'State', cell: ({ state = '' }) => text(state) },
  { heading: 'Parent', cell: ({ parent }) => text(parent) },
  { heading: 'UUID', cell: ({ uuid }) => text(uuid) },
];

/** The names, a line each; with `long`, all that is known of each. */
export function describeFilesystems({ entries }: Listing, long: boolean): string {
  if (long) return table(entries, columns);
  return [...new Set(entries.map(({ name }) => name))].join('\n');
}

/** What the list has no room for, a line each. */
export function remarks({ entries }: Listing): string[] {
  return entries
    .filter(({ type }) => !['partition', 'lv'].includes(type))
    .flatMap(({ name, reason, problem }) =>
      [reason, problem].filter((text) => text !== undefined).map((text) => `${name}: ${text}`),
    );
}
