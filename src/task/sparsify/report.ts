import type { LeftAlone } from '../../guest/free-space.js';
import type { CopyFormat } from '../conversion.js';

/** What became of one volume; all numbers are bytes. */
export interface VolumeReport {
  readonly device: string;
  /** As blkid spells it, or `unknown`. */
  readonly type: string;
  readonly size: bigint;
  readonly used?: bigint | undefined;
  readonly free: bigint;
  /** Free, and yet taking room on the host: what the image shrinks by. */
  readonly reclaimable: bigint;
  /** Whether its contents were given up by name. */
  readonly wiped: boolean;
  /** Its journal needs recovery, and was replayed in memory alone to find what is free. */
  readonly replayed?: true | undefined;
  readonly leftAlone?: LeftAlone | undefined;
}

/** What became of one image; all numbers are bytes. */
export interface SparsifyReport {
  readonly image: string;
  readonly dryRun: boolean;
  readonly size: bigint;
  readonly volumes: readonly VolumeReport[];
  /** The copy that was written, where one was; the image is then as it was. */
  readonly output?: string | undefined;
  /** What the copy is. */
  readonly format?: CopyFormat['format'] | undefined;
  /** What was written to the copy. */
  readonly written?: bigint | undefined;
  /** Zeros in use that became holes, in place. */
  readonly zeros?: bigint | undefined;
  /**
   * SHA-256 of what is in use, the same before and after (in place) or in the image and its copy, where that was asked
   * for: of each MiB of the disk whose bytes in use are not all zeros its number (64 bits, little-endian) and SHA-256.
   */
  readonly digest?: string | undefined;
  /** The undo file, and how many bytes it keeps. */
  readonly undo?: string | undefined;
  readonly kept?: bigint | undefined;
  /**
   * What the host has set aside for the image before, and for the image or its copy after; absent where the host counts
   * no blocks for it.
   */
  readonly allocatedBefore?: bigint | undefined;
  readonly allocatedAfter?: bigint | undefined;
}

/** The exit status that a report calls for: 3 when something was left alone that should not have been, else 0. */
export function reportStatus({ volumes }: { volumes: readonly VolumeReport[] }, strict: boolean): 0 | 3 {
  const wrong = volumes.some(
    ({ leftAlone }) => leftAlone?.kind === 'refused' || (strict && leftAlone?.kind === 'unsupported'),
  );
  return wrong ? 3 : 0;
}
