import { existsSync } from 'node:fs';
import type { RangeSet } from '../../binary/range-set.js';
import { DiskError } from '../../error/disk-error.js';
import { errnoMeaning } from '../../host/errno.js';
import type { BlockDevice, Operation } from '../block-device.js';
import { Interceptor, type Passing } from './interceptor.js';

/** The errors that an NBD client can be told of. */
export const injectable = ['EPERM', 'EIO', 'ENOMEM', 'EINVAL', 'ENOSPC', 'ESHUTDOWN'] as const;

export interface Injection {
  /** Of requests: 0 … 1. With a file and without this, 1. */
  readonly rate?: number | undefined;
  /** Nothing fails but while a file of this name exists. */
  readonly file?: string | undefined;
  readonly errno?: (typeof injectable)[number] | undefined;
}

export interface ErrorOptions extends Injection {
  /** What is said here of one operation goes before what is said of all. */
  readonly byOperation?: Partial<Readonly<Record<Operation, Injection>>> | undefined;
  /** Only requests that touch these bytes fail, and no flush. */
  readonly range?: RangeSet | undefined;
  /** From 0 up to 1: decides who fails. */
  readonly random?: (() => number) | undefined;
}

/**
 * Makes requests fail on purpose. Unless it is named itself, the question for extents never fails: most clients ask it
 * first, and would not come as far as reading.
 */
export class ErrorLayer extends Interceptor {
  constructor(
    below: BlockDevice,
    private readonly injected: ErrorOptions,
  ) {
    super(below, 'errors');
  }

  protected around<Result>(request: Passing, next: () => Promise<Result>): Promise<Result> {
    const error = this.#errorFor(request);
    return error === undefined ? next() : Promise.reject(error);
  }

  #errorFor({ operation, offset, length }: Passing): DiskError | undefined {
    const { byOperation, range, random = Math.random } = this.injected;
    const own = byOperation?.[operation];
    const all = operation === 'extents' ? {} : this.injected;
    const file = own?.file ?? all.file;
    const rate = own?.rate ?? all.rate ?? (file === undefined ? 0 : 1);
    if (rate === 0 || (rate < 1 && random() >= rate)) return undefined;
    if (range?.touches(offset, length) === false) return undefined;
    if (file !== undefined && !existsSync(file)) return undefined;
    const errno = own?.errno ?? this.injected.errno ?? 'EIO';
    return new DiskError('IO', `${operation} on ${this.name}: ${errnoMeaning(errno)} (${errno}), injected`, {
      device: this.name,
      offset,
      errno,
      reason: 'injected',
    });
  }
}
