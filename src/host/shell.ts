import { randomUUID } from 'node:crypto';
import { constants } from 'node:os';
import { execa } from 'execa';
import { type Command, endOf, ofUsers, sendTo } from './process.js';
import { allProcesses, environmentOf, ignoresSignal, type ProcessStat, processStat } from './process-table.js';

/** A process of a shell command. */
export type Running = Pick<ProcessStat, 'pid' | 'name'>;

/** A shell command at work. A signal reaches the shell first, and then what it and its children have started. */
export interface Shell extends Command {
  /** The shell and all that it and its children have started, in our session, that run now: parents before their children. */
  running(): readonly Running[];
}

/**
 * Starts a shell command on our own standard streams and terminal, beside us in our process group: a group of its own
 * would be stopped as soon as it read the terminal.
 *
 * So there is no group to signal, and its processes are found in /proc: the descendants of the shell; and, since a process
 * whose parent has ended is nobody's descendant, whoever was started with a mark in its environment. Who left our session
 * (setsid, daemons) meant to be on its own, and is.
 */
export function startShell(command: string, env: Readonly<Record<string, string>>): Shell {
  const run = randomUUID();
  const child = execa('sh', ['-c', command], { ...ofUsers, env: { ...env, DISKTOOL_RUN: run } });
  let root = child.pid;
  const running = () => familyOf(root, `DISKTOOL_RUN=${run}`);
  const ended = endOf('sh', child);
  const forget = () => {
    root = undefined;
  };
  ended.then(forget, forget);
  return {
    ended,
    running,
    send: (signal) => {
      // All are found before any is told: what a trap of the shell starts then is not to be interrupted.
      for (const { pid } of running()) sendTo(pid, heardBy(pid, signal));
    },
  };
}

/** The background processes of a shell ignore SIGINT, where SIGTERM means the same to them. */
function heardBy(pid: number, signal: NodeJS.Signals): NodeJS.Signals {
  return signal === 'SIGINT' && ignoresSignal(pid, constants.signals.SIGINT) ? 'SIGTERM' : signal;
}

/** @param root the shell, until its end is known */
function familyOf(root: number | undefined, mark: string): readonly Running[] {
  const session = processStat('self')?.session;
  const candidates = allProcesses().filter((candidate) => candidate.session === session);
  const marked = new Set(candidates.map(({ pid }) => pid).filter((pid) => isMarked(pid, root, mark)));
  const found = new Set<ProcessStat>();
  let generation = candidates.filter(({ pid, parent }) => marked.has(pid) && !marked.has(parent));
  while (generation.length > 0) {
    for (const member of generation) found.add(member);
    const parents = new Set(generation.map(({ pid }) => pid));
    generation = candidates.filter((candidate) => parents.has(candidate.parent) && !found.has(candidate));
  }
  const unseen = root !== undefined && !marked.has(root);
  return unseen ? [{ pid: root, name: 'sh' }, ...found] : [...found];
}

function isMarked(pid: number, root: number | undefined, mark: string): boolean {
  return pid === root || environmentOf(pid).includes(mark);
}
