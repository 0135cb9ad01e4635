import type { TaskContext } from '../../context.js';
import type { Output } from '../../output/output.js';
import { openTextOutput } from '../../output/text-output.js';
import type { Tracer } from './tracer.js';

/** A list of the files that were read. */
export interface ReadaheadList {
  /** A new file. */
  readonly file: string;
  /** Only of this filesystem, by any name of its device. */
  readonly device?: string | undefined;
}

/**
 * Lists of files in the order in which they were first read, a path a line, its bytes as they are, as readahead(8),
 * vmtouch and their like take them. A path from the root of its own filesystem is all that there is to say: where a guest
 * mounts it is not known. A name with a newline in it cannot be in such a list.
 */
export class ReadaheadLists {
  private constructor(private readonly lists: { readonly wanted: ReadaheadList; readonly output: Output }[]) {}

  /** Opens all of them before there is anything to write. @throws {DiskError} as openTextOutput */
  static async open(wanted: readonly ReadaheadList[], { signal, onWarning }: TaskContext): Promise<ReadaheadLists> {
    const opened: { wanted: ReadaheadList; output: Output }[] = [];
    const lists = new ReadaheadLists(opened);
    try {
      for (const list of wanted) {
        opened.push({ wanted: list, output: await openTextOutput(list.file, { signal, onWarning }) });
      }
      return lists;
    } catch (error) {
      await lists.discard();
      throw error;
    }
  }

  /**
   * Writes them and puts them in their places.
   *
   * @param nameOf the name that the block map has for a device
   */
  async write(
    tracer: Tracer,
    nameOf: (device: string) => string | undefined,
    { onWarning }: TaskContext,
  ): Promise<void> {
    for (let list = this.lists[0]; list !== undefined; list = this.lists[0]) {
      const { wanted, output } = list;
      const { paths, devices, unlisted } = filesRead(tracer, wanted.device && nameOf(wanted.device));
      const text = Buffer.concat(paths.flatMap((path) => [path, Buffer.from('\n')]));
      await output.write(text, 0n);
      this.lists.shift();
      await output.finish();
      if (unlisted > 0)
        onWarning?.(`${wanted.file}: left out ${unlisted} of the files: a newline in a name cannot be listed`);
      if (devices.length > 1) {
        const names = `${devices.slice(0, -1).join(', ')} and ${devices.at(-1)}`;
        onWarning?.(
          `${wanted.file} has files of ${names}, each by its path from the root of its own filesystem: name one like ${devices[0]}:${wanted.file}`,
        );
      }
    }
  }

  /** Drops those that have not been written. */
  async discard(): Promise<void> {
    for (const { output } of this.lists.splice(0)) await output.discard();
  }
}

function filesRead({ tally, describe }: Tracer, device: string | undefined) {
  const read = [...tally.owners].filter(([, { firstRead }]) => firstRead !== undefined);
  read.sort(([, { firstRead: a = 0 }], [, { firstRead: b = 0 }]) => a - b);
  const paths: Buffer[] = [];
  const devices = new Set<string>();
  let unlisted = 0;
  for (const [owner] of read) {
    const { kind, device: its, path } = describe(owner);
    if (kind !== 'f' || path === undefined || (device !== undefined && device !== its)) continue;
    if (path.includes('\n')) unlisted++;
    else {
      paths.push(path);
      devices.add(its);
    }
  }
  return { paths, devices: [...devices], unlisted };
}
