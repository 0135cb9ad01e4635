import { diskName } from '../../../guest/device-name.js';
import type { Access } from '../../../nbd/index.js';
import type { LineKind } from '../../block-map/map-lines.js';
import type { OwnerIndex } from '../../block-map/owner-index.js';
import type { Locate } from './served-place.js';
import { Tally } from './tally.js';

/** `w`: written since the map was made, so that nobody knows any more whose it is. */
export type TraceKind = LineKind | 'w';

/** What bytes belong to, as far as that is known. */
export interface TracedOwner {
  readonly kind: TraceKind;
  /** As the guest names it. */
  readonly device: string;
  /** From the root of the device's filesystem. */
  readonly path?: Buffer | undefined;
}

/** Accesses that follow one another and are to one object. */
export interface TraceRun extends TracedOwner {
  readonly access: Access;
  /** Of the first access: milliseconds since the epoch. */
  readonly time: number;
  /** Bytes from the start of the disk. */
  readonly offset: number;
  readonly length: number;
}

/** When a run is told: as it begins, whatever places follow; or whole, as far as each access begins where the last ended. */
export type RunStyle = 'begins' | 'places';

/** How accesses are watched. */
export interface WatchOptions {
  /** Takes each run of accesses; absent: they are only counted. */
  readonly tell?: ((run: TraceRun) => void) | undefined;
  /** `begins` unless given. */
  readonly style?: RunStyle | undefined;
}

/** Added to the number of a device: what was written on it. Above the numbers of all owners. */
const written = 2 ** 33;
/** What no line of the map has. */
const unknown = -1;

interface Run {
  readonly access: Access;
  readonly owner: number;
  readonly time: number;
  readonly start: number;
  end: number;
}

/** Finds out what each access is to, counts it, and tells of runs of them. */
export class Tracer {
  readonly tally = new Tally();
  #run: Run | undefined;

  constructor(
    private readonly index: OwnerIndex,
    private readonly locate: Locate,
    private readonly options: WatchOptions = {},
  ) {}

  /** Whether runs are told when they end, so that somebody has to say when nothing more comes. */
  get tellsLate(): boolean {
    return this.options.tell !== undefined && this.options.style === 'places';
  }

  /** Takes a request for bytes of what is served, in the order in which they came. */
  readonly take = (access: Access, offset: number, length: number, time: number): void => {
    this.tally.request(access, length);
    this.locate(offset, length, (start, end) => this.#piece(access, start, end, time));
  };

  /** Tells of the run that is under way, if it is yet to be told. */
  flush(): void {
    if (this.#run !== undefined && this.tellsLate) this.#tellOf(this.#run);
    this.#run = undefined;
  }

  /** By the number that {@link tally} has. */
  readonly describe = (owner: number): TracedOwner => {
    if (owner >= written) return { kind: 'w', device: this.index.nameOfDevice(owner - written) };
    return owner === unknown ? { kind: 'v', device: diskName } : this.index.describe(owner);
  };

  #piece(access: Access, start: number, end: number, time: number): void {
    for (let at = start; at < end; ) {
      const run = this.tally.written(at, end);
      this.#ofRun(access, at, run.end, run.inside, time);
      at = run.end;
    }
  }

  /** Bytes that were all written before, or were not. */
  #ofRun(access: Access, start: number, end: number, wasWritten: boolean, time: number): void {
    const { index } = this;
    for (let stretch = index.find(start), at = start; at < end; stretch++) {
      const stop = Math.min(end, index.endOf(stretch));
      const owner = index.ownerOf(stretch) ?? unknown;
      this.#access(access, wasWritten ? this.#writtenOn(owner) : owner, at, stop, time);
      at = stop;
    }
  }

  #writtenOn(owner: number): number {
    return owner === unknown ? unknown : written + this.index.deviceOf(owner);
  }

  #access(access: Access, owner: number, start: number, end: number, time: number): void {
    this.tally.part(access, owner, start, end, time);
    if (this.options.tell === undefined) return;
    const run = this.#run;
    const same = run !== undefined && run.access === access && run.owner === owner;
    if (same && (!this.tellsLate || run.end === start)) {
      run.end = end;
      return;
    }
    this.flush();
    this.#run = { access, owner, time, start, end };
    if (!this.tellsLate) this.#tellOf(this.#run);
  }

  #tellOf({ access, owner, time, start, end }: Run): void {
    this.options.tell?.({ access, ...this.describe(owner), time, offset: start, length: end - start });
  }
}
