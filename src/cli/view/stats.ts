import type { ServeResult } from '../../task/serve/serve.js';
import { formatSize } from '../quantities.js';
import { type Column, table } from '../table.js';

type Row = {
  readonly name: string;
  readonly operation: string;
  readonly requests: number;
  readonly failures: number;
  readonly bytes: bigint;
  readonly time: number;
  readonly slowest: number;
};

const milliseconds = (time: number) => `${time.toFixed(3)} ms`;

const columns: readonly Column<Row>[] = [
  { heading: 'Export', cell: ({ name }) => (name === '' ? '(default)' : name) },
  { heading: 'Operation', cell: ({ operation }) => operation },
  { heading: 'Requests', align: 'right', cell: ({ requests }) => String(requests) },
  { heading: 'Failed', align: 'right', cell: ({ failures }) => String(failures) },
  { heading: 'Bytes', align: 'right', cell: ({ bytes }) => formatSize(bytes) },
  { heading: 'Average', align: 'right', cell: ({ time, requests }) => milliseconds(time / requests) },
  { heading: 'Slowest', align: 'right', cell: ({ slowest }) => milliseconds(slowest) },
];

/** What was done to each export, a row an operation. */
export function viewStats(stats: ServeResult['stats']): string {
  const rows = stats.flatMap(([name, byOperation]) =>
    [...byOperation].map(([operation, counted]) => ({ name, operation, ...counted })),
  );
  return `${table(rows, columns)}\n`;
}
