import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { DiskError } from '../error/disk-error.js';
import type { FuseMountOptions } from '../host/fuse-device.js';
import { detachAtExit, mountFuse, unmountFuse } from '../host/fuse-mount.js';
import type { Owner } from './attributes.js';
import { answerInit } from './init.js';
import { RequestBuffer } from './request-buffer.js';
import { FuseServer, type Shown } from './server.js';
import type { Placed } from './tree.js';

export interface MountOptions extends Pick<FuseMountOptions, 'source' | 'allowOther'> {
  /** Permission bits that are taken from all files, as umask(2) does. */
  readonly mask: number;
}

/** Disks that are shown as files, as long as it is mounted. */
export class FuseMount {
  #closed: Promise<void> | undefined;
  readonly #atExit = () => detachAtExit(this.path);

  private constructor(
    readonly path: string,
    private readonly fd: number,
    private readonly server: FuseServer,
  ) {
    process.on('exit', this.#atExit);
  }

  /**
   * Shows disks as files.
   *
   * @param path of the mount point: absolute, without symbolic links
   * @param files the one file that the mount point becomes, or those of a folder. Their devices are borrowed
   * @throws {DiskError} as {@link mountFuse}; UNSUPPORTED when the kernel is too old
   */
  static async make(path: string, files: readonly Placed<Shown>[], options: MountOptions): Promise<FuseMount> {
    const isFile = files[0]?.path === '';
    const readOnly = files.every(({ file }) => file.readOnly || !file.device.facts.writable);
    const fd = await mountFuse(path, { ...options, isFile, readOnly });
    try {
      await shakeHands(fd);
      const owner: Owner = {
        uid: process.geteuid?.() ?? 0,
        gid: process.getegid?.() ?? 0,
        mask: options.mask,
        since: Math.floor(Date.now() / 1000),
      };
      return new FuseMount(path, fd, new FuseServer(fd, files, owner));
    } catch (error) {
      await unmountFuse(path, { detach: true });
      closeSync(fd);
      throw error;
    }
  }

  /** Resolves once it has been unmounted by anybody; rejects when it can answer no more. */
  get ended(): Promise<void> {
    return this.server.ended;
  }

  /** Unmounts it, and waits until nothing of it runs any more. Returns false when it is in use. */
  async unmount(): Promise<boolean> {
    if (!(await unmountFuse(this.path))) return false;
    await this.close();
    return true;
  }

  /** Takes it out of sight; who has something of it open can go on. */
  async detach(): Promise<void> {
    await unmountFuse(this.path, { detach: true });
  }

  /** Whoever still has something of it open gets errors from now on. Unmounting it comes before. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.server.stop();
    process.off('exit', this.#atExit);
    closeSync(this.fd);
  }
}

/** Milliseconds between looks for the first request, which the kernel has sent already as a rule. */
const interval = 5;
const patience = 10_000;

async function shakeHands(fd: number): Promise<void> {
  const buffer = new RequestBuffer();
  for (let waited = 0; waited < patience; ) {
    const taken = buffer.take(fd);
    if (taken === 'unmounted') throw new DiskError('IO', 'the mount was gone before it was ready', { errno: 'ENODEV' });
    if (taken === 'nothing') {
      await sleep(interval);
      waited += interval;
    } else if (answerInit(buffer, fd)) return;
  }
  throw new DiskError('PROTOCOL', '/dev/fuse: the kernel does not begin to talk');
}
