import type { TracedObject, TraceSummary } from '../../task/serve/trace/summary.js';
import { pathText } from '../path-text.js';
import { formatSize } from '../quantities.js';
import { type Column, table } from '../table.js';
import { pathAsJson } from './trace-lines.js';

/** Rows of a table: the rest is told by `--json` alone. */
const most = 20;

const size = (bytes: number) => formatSize(BigInt(bytes));

const columns: readonly Column<TracedObject & { readonly order: number }>[] = [
  { heading: 'Order', align: 'right', cell: ({ order }) => String(order) },
  { heading: 'First', align: 'right', cell: ({ first }) => `${(first / 1000).toFixed(3)} s` },
  { heading: 'Read', align: 'right', cell: ({ bytesRead }) => size(bytesRead) },
  { heading: 'Times', align: 'right', cell: (object) => times(object.bytesRead, object.distinctRead) },
  { heading: 'Written', align: 'right', cell: ({ bytesWritten }) => size(bytesWritten) },
  { heading: 'Kind', cell: ({ kind }) => kind },
  { heading: 'Device', cell: ({ device }) => device },
  { heading: 'Path', cell: ({ path }) => (path === undefined ? '' : pathText(path)) },
];

/** What was done to each export: in all, the objects by bytes, and by first access. */
export function viewTraceSummary(summaries: readonly TraceSummary[]): string {
  return summaries.map((summary) => viewOne(summary, summaries.length > 1)).join('\n');
}

function viewOne(summary: TraceSummary, several: boolean): string {
  const { name, requests, bytes, distinct, size: all } = summary;
  const objects = summary.objects.map((object, i) => ({ ...object, order: i + 1 }));
  const total = ({ bytesRead, bytesWritten }: TracedObject) => bytesRead + bytesWritten;
  const bySize = objects.toSorted((a, b) => total(b) - total(a));
  const share = (part: number) => `${size(part)} of the disk (${percent(part, all)})`;
  return [
    several ? `Export ${name === '' ? '(default)' : name}` : undefined,
    `${requests.read} reads: ${size(bytes.read)} of ${share(distinct.read)}, each byte ${times(bytes.read, distinct.read)} times`,
    `${requests.write} writes: ${size(bytes.write)} to ${share(distinct.write)}`,
    ...(objects.length === 0 ? [] : ['', `By bytes${shown(objects)}:`, table(bySize.slice(0, most), columns)]),
    ...(objects.length === 0 ? [] : ['', `By first access${shown(objects)}:`, table(objects.slice(0, most), columns)]),
  ]
    .filter((line) => line !== undefined)
    .map((line) => `${line}\n`)
    .join('');
}

function shown({ length }: { readonly length: number }): string {
  return length > most ? ` (${most} of ${length}; --json has all)` : '';
}

function times(bytes: number, distinct: number): string {
  return distinct === 0 ? '-' : (bytes / distinct).toFixed(1);
}

function percent(part: number, all: bigint): string {
  return all === 0n ? '0%' : `${((part / Number(all)) * 100).toFixed(1)}%`;
}

/** One document; of several exports, with each by its name. */
export function traceSummaryAsJson(summaries: readonly TraceSummary[]): unknown {
  const documents = summaries.map(({ name, objects, ...facts }) => ({
    export: name,
    ...facts,
    objects: objects.map(({ path, first, kind, device, ...counts }, i) => ({
      order: i + 1,
      first: Number((first / 1000).toFixed(6)),
      kind,
      device,
      ...pathAsJson(path),
      ...counts,
    })),
  }));
  return documents.length === 1 ? documents[0] : { exports: documents };
}
