/** Columns of numbers that grow by doubling: the system gives memory for what is written to, not for what is reserved. */

interface Column<T> {
  readonly length: number;
  set(from: T): void;
}

/** A column of at least `length` with the same values, or the column itself where it is as long. */
export function atLeast<T extends Column<T>>(column: T, length: number, Type: new (length: number) => T): T {
  if (column.length >= length) return column;
  const grown = new Type(Math.max(length, column.length * 2));
  grown.set(column);
  return grown;
}
