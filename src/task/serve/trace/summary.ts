import type { Tally } from './tally.js';
import type { TracedOwner, Tracer } from './tracer.js';

/** What was done to one object. */
export interface TracedObject extends TracedOwner {
  /** Milliseconds from the first access of all to the first one to this. */
  readonly first: number;
  /** Accesses; a request to several objects is one to each. */
  readonly reads: number;
  readonly bytesRead: number;
  /** Bytes that were read at least once, in whole sectors. */
  readonly distinctRead: number;
  readonly writes: number;
  readonly bytesWritten: number;
}

/** What was done to an export. */
export interface TraceSummary {
  /** Of the export; empty: the default one. */
  readonly name: string;
  /** Bytes of what is served. */
  readonly size: bigint;
  readonly requests: Tally['requests'];
  readonly bytes: Tally['bytes'];
  /** Bytes that were touched at least once, in whole sectors. */
  readonly distinct: Tally['distinct'];
  /** How often each byte that was read at all was read, on average; undefined when none was. */
  readonly readAmplification: number | undefined;
  /** In the order of the first accesses. */
  readonly objects: readonly TracedObject[];
}

/** @param size bytes of what is served */
export function summaryOf({ tally, describe }: Tracer, name: string, size: bigint): TraceSummary {
  const { requests, bytes, distinct } = tally;
  const owners = [...tally.owners];
  const start = owners[0]?.[1].first ?? 0;
  const objects = owners.map(([owner, { first, firstRead, ...counts }]) => ({
    ...describe(owner),
    first: first - start,
    ...counts,
  }));
  const readAmplification = distinct.read === 0 ? undefined : bytes.read / distinct.read;
  return { name, size, requests, bytes, distinct, readAmplification, objects };
}
