import { constants } from 'node:os';
import { call } from './libc.js';

/** prctl(2), linux/prctl.h. */
const PR_SET_PDEATHSIG = 1;

/** Has the kernel send us SIGTERM when the process ends that started us; at once if it has ended already. */
export function exitWithParent(): void {
  const parent = process.ppid;
  call('prctl', 'of the signal at the parent’s death', PR_SET_PDEATHSIG, constants.signals.SIGTERM, 0, 0, 0);
  if (process.ppid !== parent) process.kill(process.pid, 'SIGTERM');
}
