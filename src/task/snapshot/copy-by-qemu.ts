import { DiskError } from '../../error/disk-error.js';
import type { TaskContext } from '../context.js';
import type { Held } from '../held.js';
import type { SnapshotOptions, SnapshotResult } from './snapshot.js';

export async function copyByQemu(
  image: string,
  _output: string,
  _qmp: string,
  _hold: () => Promise<Held>,
  _options: SnapshotOptions,
  _context: TaskContext,
): Promise<SnapshotResult> {
  throw new DiskError('UNSUPPORTED', image);
}
