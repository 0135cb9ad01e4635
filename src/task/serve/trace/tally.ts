import { BlockSet } from '../../../binary/block-set.js';
import type { Access } from '../../../nbd/index.js';

/** Bytes of the unit in which it is kept what has been touched: the smallest block of a disk. */
const sector = 512;

/** What was done to one object. */
export interface OwnerTally {
  /** Milliseconds since the epoch. */
  readonly first: number;
  /** The same of the first that was a read. */
  firstRead: number | undefined;
  /** Accesses: requests, or parts of them where a request touches several objects. */
  reads: number;
  bytesRead: number;
  /** Bytes that were read at least once, in whole sectors. */
  distinctRead: number;
  writes: number;
  bytesWritten: number;
}

/** What was done to a disk: in all, and to each object, in the order of their first accesses. */
export class Tally {
  readonly requests = { read: 0, write: 0 };
  readonly bytes = { read: 0, write: 0 };
  /** Bytes that were touched at least once, in whole sectors. */
  readonly distinct = { read: 0, write: 0 };
  readonly #owners = new Map<number, OwnerTally>();
  readonly #touched = { read: new BlockSet(), write: new BlockSet() };

  /** By the numbers of owners. */
  get owners(): ReadonlyMap<number, Readonly<OwnerTally>> {
    return this.#owners;
  }

  /** Counts a request. */
  request(access: Access, length: number): void {
    this.requests[access]++;
    this.bytes[access] += length;
  }

  /** Counts the part of a request that is to one object, bytes `start` to `end` of the disk. */
  part(access: Access, owner: number, start: number, end: number, time: number): void {
    const fresh = this.#touch(access, start, end);
    this.distinct[access] += fresh;
    let own = this.#owners.get(owner);
    if (own === undefined) {
      own = { first: time, firstRead: undefined, reads: 0, bytesRead: 0, distinctRead: 0, writes: 0, bytesWritten: 0 };
      this.#owners.set(owner, own);
    }
    if (access === 'read') {
      own.firstRead ??= time;
      own.reads++;
      own.bytesRead += end - start;
      own.distinctRead += fresh;
    } else {
      own.writes++;
      own.bytesWritten += end - start;
    }
  }

  /** The run from byte `start` that was written before, or was not: up to `end` at most. */
  written(start: number, end: number): { readonly end: number; readonly inside: boolean } {
    const run = this.#touched.write.run(Math.floor(start / sector), Math.ceil(end / sector));
    return { end: Math.min(end, run.end * sector), inside: run.inside };
  }

  /** @returns bytes that had not been touched so */
  #touch(access: Access, start: number, end: number): number {
    return this.#touched[access].add(Math.floor(start / sector), Math.ceil(end / sector)) * sector;
  }
}
