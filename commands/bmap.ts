import { BaseCommand } from '../src/cli/base-command.js';
import { bmapFlags, type FileOfDevice } from '../src/cli/bmap-flags.js';
import { imageArg, sourceOf } from '../src/cli/flags.js';
import { streamOut } from '../src/cli/stream-out.js';
import { blockMapAsJson, describeCounts, mapAsLines } from '../src/cli/view/block-map.js';
import { damageAsText, damageDocument, summarizeDamage } from '../src/cli/view/damage.js';
import { extentsAsJson, extentsAsTable } from '../src/cli/view/file-extents.js';
import { describeOwners, ownersDocument } from '../src/cli/view/owners.js';
import { type BlockMap, blockMap } from '../src/task/block-map/block-map.js';
import { findDamage } from '../src/task/block-map/damage.js';
import { openFileOnDisk } from '../src/task/block-map/file-extents.js';
import { ownersOf } from '../src/task/block-map/owners.js';
import { openTextOutput } from '../src/task/output/text-output.js';

export default class Bmap extends BaseCommand<typeof Bmap> {
  static override summary = 'say which file lies where on a disk';
  static override description =
    `Writes a line for every extent of every file of a guest, in the format of virt-bmap: number of the disk, start and end (exclusive) in hexadecimal bytes, kind, device, path. They are sorted by their start, a large range before those within it.

Kinds: v the whole disk, p a partition or logical volume, f a file, d a directory, m metadata (of a file, with its path: blocks of its map or of its extended attributes), s swap space, u free space (--free). Each name of a file has lines of its own. What lies in an inode itself is part of the metadata. Paths have control characters, backslashes and what is no UTF-8 as escapes.

With --at, --file or --bad-sectors it answers on standard output, and writes no map. Only what could have part in the answer is looked into and, where that cannot be done, left out.

A filesystem that disktool reads no files of, or that is in a state in which it cannot be believed, is left out and named, and so is a file or directory that is damaged; the status is then 3. The journal of one that was not unmounted is replayed in memory.`;
  static override examples = [
    { description: 'Map a disk', command: '<%= config.bin %> bmap guest.img --output guest.map' },
    { description: 'See who owns the blocks of a disk', command: '<%= config.bin %> bmap --free guest.img | less' },
    { description: 'See where a file lies', command: '<%= config.bin %> bmap guest.img --file /dev/sda1:/etc/fstab' },
    {
      description: 'See which files a failing disk has cost',
      command: '<%= config.bin %> bmap copy.img --bad-sectors rescue.map',
    },
    { description: 'See who owns a sector', command: '<%= config.bin %> bmap guest.img --at 2056s' },
  ];
  static override enableJsonFlag = true;
  static override args = { image: imageArg() };
  static override flags = bmapFlags;

  async run(): Promise<object | undefined> {
    const { at, file, 'bad-sectors': list } = this.flags;
    if (list !== undefined) return await this.#damage(list);
    if (file !== undefined) return await this.#extents(file);
    return at === undefined ? await this.#map() : await this.#owners(at);
  }

  async #map(): Promise<undefined> {
    const { image } = this.args;
    const { output, force: replace, free } = this.flags;
    const { signal, onWarning } = this.context;
    const to = output === undefined ? undefined : await openTextOutput(output, { replace, signal, onWarning });
    let map: BlockMap;
    try {
      map = await this.withProgress(`bmap ${image}`, (context) =>
        blockMap(image, { ...sourceOf(this.flags), free }, context),
      );
    } catch (error) {
      await to?.discard();
      throw error;
    }
    if (map.leftOut.length > 0) this.status = 3;
    this.streams = true;
    await streamOut(this.jsonEnabled() ? blockMapAsJson(map) : mapAsLines(map), this.signal, to);
    this.note(describeCounts(map.counts));
  }

  async #extents({ device, path }: FileOfDevice): Promise<undefined> {
    await using file = await openFileOnDisk(this.args.image, device, path, sourceOf(this.flags), this.context);
    this.streams = true;
    await streamOut(this.jsonEnabled() ? extentsAsJson(file) : extentsAsTable(file), this.signal);
  }

  async #damage(list: string): Promise<object | undefined> {
    const { 'sector-size': sectorSize, statuses } = this.flags;
    const { image } = this.args;
    const options = { ...sourceOf(this.flags), sectorSize, statuses };
    const damage = await this.withProgress(`bmap ${image}`, (context) => findDamage(image, list, options, context));
    if (damage.leftOut.length > 0) this.status = 3;
    if (this.jsonEnabled()) return damageDocument(damage);
    await streamOut(damageAsText(damage), this.signal);
    this.note(summarizeDamage(damage));
    return undefined;
  }

  async #owners(offsets: readonly bigint[]): Promise<object> {
    const { image } = this.args;
    const report = await this.withProgress(`bmap ${image}`, (context) =>
      ownersOf(image, offsets, sourceOf(this.flags), context),
    );
    if (report.leftOut.length > 0) this.status = 3;
    if (!this.jsonEnabled()) this.log(describeOwners(report));
    return ownersDocument(report);
  }
}
