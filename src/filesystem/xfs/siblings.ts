import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';

/** The last block that was seen on a level. */
interface Last {
  readonly block: bigint;
  readonly right: bigint | undefined;
  readonly place: Place;
}

/**
 * Checks that the blocks of a tree, as its pointers lead to them, are those that name each other as neighbours. Whoever
 * walks a tree with it comes to an end, whatever the disk says: the first of a level has nobody before it, and each
 * other one names the block before it, so none comes twice.
 */
export class Siblings {
  readonly #last = new Map<number, Last>();

  /**
   * The next block of a level.
   *
   * @param left by its own words; undefined: none
   * @throws {DiskError} CORRUPT
   */
  visit(level: number, block: bigint, left: bigint | undefined, right: bigint | undefined, place: Place): void {
    const last = this.#last.get(level);
    if (left !== last?.block) throw wrong(place, 'bb_leftsib', left, last?.block);
    if (last !== undefined && last.right !== block) throw wrong(last.place, 'bb_rightsib', last.right, block);
    this.#last.set(level, { block, right, place });
  }

  /** There are no more blocks. @throws {DiskError} CORRUPT when one says that another follows */
  end(): void {
    for (const { right, place } of this.#last.values()) {
      if (right !== undefined) throw wrong(place, 'bb_rightsib', right, undefined);
    }
  }
}

function wrong(place: Place, field: string, actual: bigint | undefined, expected: bigint | undefined): DiskError {
  return DiskError.corrupt({ ...place, field, actual: actual ?? 'none', expected: expected ?? 'none' });
}
