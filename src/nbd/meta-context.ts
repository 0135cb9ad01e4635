import { viewOf } from '../binary/layout.js';
import { baseAllocation, length32, longestString } from './on-wire.js';

/** The options LIST_META_CONTEXT and SET_META_CONTEXT: what is asked. */

export interface ContextQuery {
  /** The export's. */
  readonly name: string;
  readonly queries: readonly string[];
}

/** The data of either option, or undefined when its lengths contradict each other. */
export function parseContextQuery(data: Buffer): ContextQuery | undefined {
  const view = viewOf(data);
  let at = 0;
  const take = (): string | undefined => {
    if (at + length32.size > data.length) return undefined;
    const { length } = length32.at(view, at);
    const start = at + length32.size;
    if (length > longestString || start + length > data.length) return undefined;
    at = start + length;
    return data.toString('utf8', start, at);
  };
  const name = take();
  if (name === undefined || at + length32.size > data.length) return undefined;
  const { length: count } = length32.at(view, at);
  at += length32.size;
  const queries: string[] = [];
  // Each query takes at least the bytes of its length, so a count past the data ends the loop soon.
  for (let i = 0; i < count; i++) {
    const query = take();
    if (query === undefined) return undefined;
    queries.push(query);
  }
  return at === data.length ? { name, queries } : undefined;
}

/** Whether a query of SET_META_CONTEXT selects base:allocation; names that nobody knows are ignored. */
export function isBaseAllocation(query: string): boolean {
  return query === baseAllocation;
}

/** Whether the queries of LIST_META_CONTEXT find base:allocation: none asks for all, `base:` for all of its namespace. */
export function matchesBaseAllocation(queries: readonly string[]): boolean {
  return queries.length === 0 || queries.some((query) => query === 'base:' || query === baseAllocation);
}
