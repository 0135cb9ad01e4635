import type { SparsifyReport, VolumeReport } from '../../task/sparsify/report.js';
import type { RestoreReport } from '../../task/sparsify/undo/restore.js';
import { formatSize } from '../quantities.js';
import { table } from '../table.js';

/** What a person reads after an image was made small, or before it would be. */
export function describeSparsify(report: SparsifyReport): string {
  const { image, output, dryRun, volumes, zeros, allocatedBefore, allocatedAfter } = report;
  const heading = output !== undefined ? 'left out' : dryRun ? 'reclaimable' : 'freed';
  const rows = table<VolumeReport>(volumes, [
    { heading: 'device', cell: ({ device }) => device },
    { heading: 'type', cell: ({ type }) => type },
    { heading: 'size', align: 'right', cell: ({ size }) => formatSize(size) },
    { heading: 'used', align: 'right', cell: ({ used }) => (used === undefined ? '-' : formatSize(used)) },
    { heading: 'free', align: 'right', cell: ({ leftAlone, free }) => (leftAlone ? '-' : formatSize(free)) },
    { heading, align: 'right', cell: ({ leftAlone, reclaimable }) => (leftAlone ? '-' : formatSize(reclaimable)) },
    { heading: '', cell: remark },
  ]);
  return [volumes.length === 0 ? `${image}: nothing in it is recognised` : rows, ...figures()].join('\n');

  function figures(): string[] {
    const lines: string[] = [];
    if (zeros !== undefined && zeros > 0n) lines.push(`zeros in use that became holes: ${formatSize(zeros)}`);
    if (dryRun && allocatedBefore !== undefined) {
      lines.push(
        `${image}: ${formatSize(allocatedBefore)} allocated of ${formatSize(report.size)}; nothing was changed`,
      );
    } else if (output !== undefined) {
      const takes = allocatedAfter === undefined ? '' : `, takes ${formatSize(allocatedAfter)}`;
      lines.push(`${output}: ${report.format ?? 'raw'}, ${formatSize(report.size)}${takes}; ${image} is as it was`);
    } else if (allocatedBefore !== undefined && allocatedAfter !== undefined) {
      const saved = allocatedBefore - allocatedAfter;
      const change = saved < 0n ? `${formatSize(-saved)} more` : `${formatSize(saved)} given back`;
      const [before, after] = [formatSize(allocatedBefore), formatSize(allocatedAfter)];
      lines.push(`${image}: ${before} before, ${after} after, ${change}`);
    }
    if (report.digest !== undefined) lines.push(`what is in use is the same, sha256 ${report.digest}`);
    if (report.undo !== undefined && report.kept !== undefined) {
      lines.push(
        `${report.undo}: keeps ${formatSize(report.kept)}: sparsify --restore ${report.undo} ${image} puts it back`,
      );
    }
    return lines;
  }
}

function remark({ leftAlone, wiped, replayed }: VolumeReport): string {
  if (leftAlone !== undefined) return `left alone: ${leftAlone.reason}`;
  if (wiped) return 'wiped';
  return replayed ? 'its journal was replayed in memory, and nothing of it written' : '';
}

/** What a person reads after what was given back was put back, or before it would be. */
export function describeRestore({ image, undo, dryRun, restored, present, complete }: RestoreReport): string {
  const put = `${formatSize(restored)} ${dryRun ? 'would be put back' : 'put back'}`;
  const there = present === 0n ? '' : `, ${formatSize(present)} there already`;
  const lines = [`${image}: ${put}${there}${dryRun ? '; nothing was changed' : ''}`];
  if (!complete) lines.push(`${undo}: the run that made it was cut short: what it does not keep was not given back`);
  return lines.join('\n');
}
