import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { DiskError } from '../error/disk-error.js';
import { errnoOf, wrapSystemError } from './errno.js';
import { sendTo } from './process.js';

/**
 * Programs that are called around a freeze, as qemu-ga's fsfreeze-hook.d has them (QEMU,
 * scripts/qemu-guest-agent/fsfreeze-hook): with the one argument `freeze` before, and `thaw` after, both times by
 * ascending name. There a hook that fails is passed over; here it calls the freeze off.
 */

/** Where the hooks are, and how long each may take. */
export interface HookTask {
  /** An absolute path: whoever calls them stands elsewhere. */
  readonly folder: string;
  /** Milliseconds. */
  readonly timeout: number;
}

/** What editors and package managers leave beside a file: qemu-ga's list. */
const leftovers =
  /(~|\.(bak|orig|rpmnew|rpmorig|rpmsave|sample|dpkg-old|dpkg-new|dpkg-tmp|dpkg-dist|dpkg-bak|dpkg-backup|dpkg-remove))$/;

/** Bytes: the end of what a hook says of its troubles is enough. */
const longestComplaint = 4 << 10;

/**
 * The hooks of a folder in the order in which they are called: that of the bytes of their names.
 *
 * @throws {DiskError} NOT_FOUND, IO when the folder cannot be read
 */
export function findHooks(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith('.') && !leftovers.test(name))
      .toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .map((name) => join(folder, name))
      .filter(isExecutableFile);
  } catch (error) {
    throw wrapSystemError(`read the hooks in ${folder}`, error, { device: folder });
  }
}

function isExecutableFile(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The hooks around one freeze: those that were called before it are called after it. */
export class FreezeHooks {
  readonly #called: string[] = [];

  constructor(private readonly task: HookTask | undefined) {}

  get any(): boolean {
    return this.#called.length > 0;
  }

  /**
   * Calls them with `freeze`, one after another.
   *
   * @throws {DiskError} the first one's failure: IO with the reason `hook`; CANCELLED
   */
  async freeze(signal: AbortSignal): Promise<void> {
    if (this.task === undefined) return;
    for (const hook of findHooks(this.task.folder)) {
      // One that fails half-way has something to undo as well.
      this.#called.push(hook);
      await callHook(hook, 'freeze', this.task.timeout, signal);
    }
  }

  /** Calls those that were called before with `thaw`, every one. @returns what went wrong, in words */
  async thaw(): Promise<string[]> {
    const complaints: string[] = [];
    for (const hook of this.#called.splice(0)) {
      try {
        await callHook(hook, 'thaw', this.task?.timeout ?? 0);
      } catch (error) {
        complaints.push(error instanceof Error ? error.message : String(error));
      }
    }
    return complaints;
  }
}

/** Runs a hook to its end; when its time is up, or nobody needs it any more, it is killed with all that it started. */
async function callHook(
  path: string,
  argument: 'freeze' | 'thaw',
  timeout: number,
  signal?: AbortSignal,
): Promise<void> {
  if (signal?.aborted) throw DiskError.cancelled(signal);
  const child = execa(path, [argument], {
    cwd: '/',
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    detached: true,
    cleanup: false,
    buffer: false,
    reject: false,
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-longestComplaint);
    });
  }
  const kill = () => child.pid !== undefined && sendTo(-child.pid, 'SIGKILL');
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    kill();
  }, timeout);
  signal?.addEventListener('abort', kill, { once: true });
  try {
    // Not its streams' end: what it leaves running in the background may hold them.
    const end = await new Promise<{ status: number | null; signal: NodeJS.Signals | null }>((done, failed) => {
      child.once('exit', (status, by) => done({ status, signal: by }));
      child.once('error', failed);
    });
    if (signal?.aborted) throw DiskError.cancelled(signal);
    if (end.status === 0) return;
    const how = late ? `took longer than ${timeout} ms` : (end.signal ?? `status ${end.status}`);
    const words = said.trim().replace(/\s+/g, ' ');
    throw new DiskError('IO', `hook ${path} ${argument}: ${how}${words === '' ? '' : ` (${words})`}`, {
      device: path,
      reason: 'hook',
    });
  } catch (error) {
    if (error instanceof DiskError) throw error;
    throw new DiskError('IO', `hook ${path} ${argument}: could not be started (${errnoOf(error) ?? String(error)})`, {
      device: path,
      reason: 'hook',
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', kill);
    child.stdout.destroy();
    child.stderr.destroy();
  }
}
