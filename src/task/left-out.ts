/** A file of a guest that a verb goes on without. */
export interface LeftOut {
  /** From the root of its filesystem; any bytes but NUL. */
  readonly path: Buffer;
  readonly reason: string;
}

/** Files that a verb goes on without, with a warning each. */
export class LeftOutFiles {
  readonly list: LeftOut[] = [];

  constructor(private readonly onWarning: ((message: string) => void) | undefined) {}

  /** @param part what is told of it when it is not the whole of it that is left out: `its extended attributes are left out` */
  add(path: Buffer, reason: string, part?: string): void {
    this.list.push({ path, reason: part === undefined ? reason : `${part}: ${reason}` });
    const words = part === undefined ? ' is left out' : `: ${part}`;
    this.onWarning?.(`${path.toString()}${words}: ${reason}`);
  }
}

/** What is told of a directory of which not all names can be read. */
export const restOfDirectory = 'what else is in it is left out';
/** What is told of a file whose extended attributes cannot be read. */
export const damagedXattrs = 'its extended attributes are left out';
