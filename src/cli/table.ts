import { printable } from './printable.js';

/** A column: its heading, its cells, and the side they stand on. */
export interface Column<Row> {
  readonly heading: string;
  readonly align?: 'left' | 'right';
  cell(row: Row): string;
}

/** Aligned columns with a heading, two spaces apart; no trailing spaces. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const cells = rows.map((row) => columns.map((column) => printable(column.cell(row))));
  const lines = [columns.map(({ heading }) => heading), ...cells];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => width(line[i] ?? ''))));
  return lines
    .map((line) =>
      line
        .map((cell, i) => {
          const padding = ' '.repeat((widths[i] ?? 0) - width(cell));
          return columns[i]?.align === 'right' ? padding + cell : cell + padding;
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Characters as a reader counts them. */
function width(text: string): number {
  return [...new Intl.Segmenter().segment(text)].length;
}
