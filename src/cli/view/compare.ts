import { hex } from '../../error/message.js';
import type { Comparison } from '../../task/compare.js';

/** One line: that they are the same, or where they begin not to be. */
export function describeComparison({ images, difference }: Comparison): string {
  const [first, second] = images;
  const both = `${first.image} and ${second.image}`;
  switch (difference?.kind) {
    case undefined:
      return `${both} are the same`;
    case 'size':
      return `${both} differ in size: ${first.size} and ${second.size} bytes`;
    case 'content':
      return `${both} differ at byte ${difference.offset} (${hex(difference.offset)})`;
    case 'allocation':
      return `${both} differ in allocation at byte ${difference.offset} (${hex(difference.offset)}): only ${difference.allocatedIn} takes room there`;
  }
}

/** What two sizes that are no difference need said. */
export function sizeRemark({ images: [first, second], same, difference }: Comparison): string | undefined {
  if (first.size === second.size || difference?.kind === 'size') return undefined;
  const longer = first.size > second.size ? first : second;
  const sizes = `the sizes differ: ${first.image} has ${first.size} bytes, ${second.image} ${second.size}`;
  return same ? `${sizes}; the rest of ${longer.image} is zeros` : sizes;
}
