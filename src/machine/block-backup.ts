import { setTimeout as sleep } from 'node:timers/promises';
import { DiskError } from '../error/disk-error.js';
import { isAlive, startTimeOf } from '../host/freeze-record.js';
import { protocolError } from './agent.js';
import { isObject, type JsonObject } from './json.js';
import type { Qmp } from './qmp.js';

/** A disk that a QEMU's guest has: query-block (qapi/block-core.json). */
export interface GuestDisk {
  /** Of the node that the guest's device uses. */
  readonly node: string;
  /** The image's name as QEMU was given it. */
  readonly filename: string;
  readonly format: string;
  /** Bytes: of the disk. */
  readonly size: bigint;
}

export interface BackupTarget {
  readonly format: 'raw' | 'qcow2';
  /** Of an empty file; for a raw one as long as the disk. */
  readonly fd: number;
  /** Bytes: of the disk. */
  readonly size: bigint;
}

export interface JobProgress {
  readonly done: bigint;
  readonly total: bigint;
}

/** Milliseconds within which a job begins. */
const startPatience = 30_000;
/** Milliseconds between looks at a job; and for which one is waited for that was told to end. */
const interval = 200;
const endPatience = 60_000;
/** What jobs and nodes of ours are called: by the process that has them made, and when that was started. */
const ownName = /^disktool-(\d+)-(\d+)-(create|backup|file|target)$/;

export async function guestDisks(qmp: Qmp, signal?: AbortSignal): Promise<GuestDisk[]> {
  const answer = await qmp.execute('query-block', {}, { signal });
  if (!Array.isArray(answer)) throw protocolError(qmp.name, 'query-block: answered with no list');
  return answer.flatMap((entry: unknown) =>
    isObject(entry) && isObject(entry.inserted) ? diskOf(entry.inserted) : [],
  );
}

function diskOf({ 'node-name': node, file, drv, image }: JsonObject): GuestDisk[] {
  if (typeof node !== 'string' || typeof file !== 'string' || !isObject(image)) return [];
  const { 'virtual-size': size, format = drv } = image;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || typeof format !== 'string') return [];
  return [{ node, filename: plainName(file), format, size: BigInt(size) }];
}

/** What QEMU can only say as options is `json:{…}`. */
function plainName(file: string): string {
  if (!file.startsWith('json:')) return file;
  try {
    const options: unknown = JSON.parse(file.slice(5));
    for (let at = options; isObject(at); at = at.file) if (typeof at.filename === 'string') return at.filename;
  } catch {
    // A name that begins so.
  }
  return file;
}

/**
 * A backup that QEMU makes of a disk while its guest goes on writing: what it holds is the moment in which the job began
 * (blockdev-backup with `sync: full`, qapi/block-core.json), and the guest's own chain stays as it is.
 */
export class BlockBackup implements AsyncDisposable {
  readonly #nodes: string[] = [];
  readonly #jobs: string[] = [];
  #fdset: number | undefined;

  private constructor(
    private readonly qmp: Qmp,
    private readonly prefix = `disktool-${process.pid}-${startTimeOf(process.pid) ?? 0}`,
  ) {}

  /**
   * Prepares everything: nothing is copied yet. What a disktool has left in QEMU that was killed is removed: a job that
   * copies on into a file without a name, or has ended and keeps it open.
   *
   * @throws {DiskError} as {@link Qmp.execute}
   */
  static async prepare(qmp: Qmp, target: BackupTarget, signal?: AbortSignal): Promise<BlockBackup> {
    const backup = new BlockBackup(qmp);
    await BlockBackup.#removeLeftovers(qmp);
    try {
      await backup.#addTarget(target, signal);
      return backup;
    } catch (error) {
      await backup[Symbol.asyncDispose]();
      throw error;
    }
  }

  static async #removeLeftovers(qmp: Qmp): Promise<void> {
    const jobs = namesOf(await qmp.execute('query-jobs'), 'id');
    const nodes = namesOf(await qmp.execute('query-named-block-nodes', { flat: true }), 'node-name');
    const killed = new Map<string, BlockBackup>();
    for (const name of [...jobs, ...nodes]) {
      const [, pid, startTime = '', part] = ownName.exec(name) ?? [];
      if (pid === undefined || isAlive({ pid: Number(pid), startTime })) continue;
      const prefix = `disktool-${pid}-${startTime}`;
      const leftover = killed.get(prefix) ?? new BlockBackup(qmp, prefix);
      killed.set(prefix, leftover);
      if (part === 'create' || part === 'backup') leftover.#jobs.push(name);
      // Each is removed before what it stands on.
      else if (part === 'file') leftover.#nodes.unshift(name);
      else leftover.#nodes.push(name);
    }
    for (const leftover of killed.values()) await leftover[Symbol.asyncDispose]();
  }

  async #addTarget({ format, fd, size }: BackupTarget, signal: AbortSignal | undefined): Promise<void> {
    const { qmp } = this;
    const passed = await qmp.executeWithDescriptor('add-fd', { opaque: this.prefix }, fd);
    if (!isObject(passed) || typeof passed['fdset-id'] !== 'number') throw protocolError(qmp.name, 'add-fd: no fdset');
    this.#fdset = passed['fdset-id'];
    const file = `${this.prefix}-file`;
    const options = { driver: 'file', filename: `/dev/fdset/${this.#fdset}`, discard: 'unmap' };
    await this.#add({ ...options, 'node-name': file });
    if (format === 'qcow2') {
      await this.#run(`${this.prefix}-create`, signal, undefined, (id) => [
        'blockdev-create',
        { 'job-id': id, options: { driver: 'qcow2', file, size: Number(size) } },
      ]);
    }
    await this.#add({ driver: format, file, 'node-name': this.#target, discard: 'unmap', 'detect-zeroes': 'unmap' });
  }

  get #target(): string {
    return `${this.prefix}-target`;
  }

  async #add(options: JsonObject & { readonly 'node-name': string }): Promise<void> {
    await this.qmp.execute('blockdev-add', options);
    this.#nodes.push(options['node-name']);
  }

  /** Begins: when it resolves, the moment has been taken. */
  async start({ node }: GuestDisk): Promise<void> {
    const id = `${this.prefix}-backup`;
    // An answer that does not come says nothing of the job.
    this.#jobs.push(id);
    const options = { 'job-id': id, device: node, target: this.#target, sync: 'full', 'auto-dismiss': false };
    await this.qmp.execute('blockdev-backup', options, { patience: startPatience });
  }

  /** Waits until it is whole. */
  async finish(signal: AbortSignal | undefined, onProgress: (progress: JobProgress) => void): Promise<void> {
    for (const id of [...this.#jobs]) await this.#finishJob(id, signal, onProgress);
    await this.#removeNodes();
  }

  async #run(
    id: string,
    signal: AbortSignal | undefined,
    onProgress: ((progress: JobProgress) => void) | undefined,
    command: (id: string) => [string, JsonObject],
  ): Promise<void> {
    this.#jobs.push(id);
    await this.qmp.execute(...command(id));
    await this.#finishJob(id, signal, onProgress);
  }

  async #finishJob(
    id: string,
    signal: AbortSignal | undefined,
    onProgress?: (progress: JobProgress) => void,
  ): Promise<void> {
    for (;;) {
      const job = await this.#look(id, signal);
      if (job.status === 'concluded') {
        await this.#dismiss(id);
        if (typeof job.error !== 'string') return;
        throw new DiskError('IO', `${this.qmp.name}: the copy failed: ${job.error}`, {
          device: this.qmp.name,
          reason: 'qmp-error',
        });
      }
      const { 'current-progress': done, 'total-progress': total } = job;
      if (typeof done === 'number' && typeof total === 'number' && Number.isSafeInteger(done + total)) {
        onProgress?.({ done: BigInt(done), total: BigInt(total) });
      }
      await sleep(interval);
    }
  }

  async #look(id: string, signal?: AbortSignal): Promise<JsonObject> {
    const jobs = await this.qmp.execute('query-jobs', {}, { signal });
    const job: unknown = Array.isArray(jobs) ? jobs.find((entry) => isObject(entry) && entry.id === id) : undefined;
    if (isObject(job)) return job;
    throw new DiskError('IO', `${this.qmp.name}: somebody else has ended the copy`, { device: this.qmp.name });
  }

  async #dismiss(id: string): Promise<void> {
    await this.qmp.execute('job-dismiss', { id });
    this.#jobs.splice(this.#jobs.indexOf(id), 1);
  }

  async #removeNodes(): Promise<void> {
    for (let node = this.#nodes.pop(); node !== undefined; node = this.#nodes.pop()) {
      // To close an image is to write the last of it.
      await this.qmp.execute('blockdev-del', { 'node-name': node }, { patience: endPatience });
    }
    if (this.#fdset !== undefined)
      await this.qmp.execute('remove-fd', { 'fdset-id': this.#fdset }).catch(() => undefined);
    this.#fdset = undefined;
  }

  /** Ends what is under way, and leaves QEMU as it was found, as far as it still answers. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const id of [...this.#jobs]) await this.#cancel(id).catch(() => undefined);
      await this.#removeNodes();
    } catch {
      // It has gone, or somebody else has done it.
    }
  }

  async #cancel(id: string): Promise<void> {
    const deadline = performance.now() + endPatience;
    await this.qmp.execute('job-cancel', { id }).catch(() => undefined);
    while ((await this.#look(id)).status !== 'concluded' && performance.now() < deadline) await sleep(interval);
    await this.#dismiss(id);
  }
}

function namesOf(answer: unknown, field: string): string[] {
  if (!Array.isArray(answer)) return [];
  return answer.flatMap((entry: unknown) => {
    const name = isObject(entry) ? entry[field] : undefined;
    return typeof name === 'string' ? [name] : [];
  });
}
