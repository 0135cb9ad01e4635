import { isatty } from 'node:tty';
import { processStat } from './process-table.js';

/** Whether our standard input is a terminal whose keys reach us: Ctrl-C interrupts us, and all else in our process group. */
export function isInForeground(): boolean {
  if (!isatty(0)) return false;
  const ours = processStat('self');
  return ours !== undefined && ours.group === ours.foreground;
}
