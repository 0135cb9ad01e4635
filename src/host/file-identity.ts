import type { BigIntStats } from 'node:fs';

/** What makes a file the same file under every path. */
export interface FileIdentity {
  /** Device number and inode, or, of a block device, its own device number. */
  readonly key: string;
  readonly device: bigint;
  readonly inode: bigint;
}

/** Two block device nodes with one device number are one device, wherever they lie. */
export function identify(stats: Pick<BigIntStats, 'dev' | 'ino' | 'rdev' | 'isBlockDevice'>): FileIdentity {
  const key = stats.isBlockDevice() ? `device ${stats.rdev}` : `file ${stats.dev} ${stats.ino}`;
  return { key, device: stats.dev, inode: stats.ino };
}
