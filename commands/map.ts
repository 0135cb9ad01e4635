import { Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { imageArg, imageFlags, sourceOf } from '../src/cli/flags.js';
import { streamOut } from '../src/cli/stream-out.js';
import { mapAsJson, mapAsTable } from '../src/cli/view/map.js';
import { DiskError } from '../src/error/disk-error.js';
import { openMap } from '../src/task/map.js';

export default class DiskMap extends BaseCommand<typeof DiskMap> {
  static override summary = 'say what of a disk image is data, zeros and holes';
  static override description =
    `Prints the extents of the disk in bytes: data (compressed in the image or not), zero (reads as zeros, and is kept as such), hole (takes no room, and reads as zeros). Depth says which image holds it: 0 is the image itself, 1 its backing file. Offset says where in that image's file it lies, where it lies there as it is.

--json prints what "qemu-img map --output=json" prints, its "compressed" included.

--bmap reads the disk and prints a block map for bmaptool: the blocks of 4096 bytes with data, with their checksums. "bmaptool copy" then writes those alone, and leaves the rest of the target as it is: it must be blank where the disk's zeros matter.`;
  static override examples = [
    { description: 'See where the data are', command: '<%= config.bin %> map guest.img' },
    {
      description: 'See which image of a chain holds what',
      command: '<%= config.bin %> map --format qcow2 --json overlay.qcow2',
    },
    {
      description: 'Write the data of an image to a blank card',
      command:
        '<%= config.bin %> map --bmap guest.img > guest.bmap && bmaptool copy --bmap guest.bmap guest.img /dev/sdx',
    },
  ];
  static override enableJsonFlag = true;
  static override args = { image: imageArg() };
  static override flags = {
    bmap: Flags.boolean({ summary: 'print a block map for bmaptool, with checksums' }),
    ...imageFlags,
  };

  async run(): Promise<void> {
    const options = { image: this.args.image, ...sourceOf(this.flags) };
    if (this.flags.bmap) {
      if (this.jsonEnabled()) throw new DiskError('USAGE', '--json and --bmap are two ways to print it: choose one');
      // Loaded for those who need it alone.
      const { bmapFile } = await import('../src/task/bmap.js');
      await this.withProgress(`map ${options.image}`, (context) => streamOut(bmapFile(options, context), this.signal));
      return;
    }
    await using map = await openMap(options, this.context);
    this.streams = true;
    await streamOut(this.jsonEnabled() ? mapAsJson(map) : mapAsTable(map), this.signal);
  }
}
