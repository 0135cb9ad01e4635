import { Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { imageArg, imageFlags, sourceOf } from '../src/cli/flags.js';
import { describeFilesystems, remarks } from '../src/cli/view/filesystems.js';
import { type Listing, listFilesystems } from '../src/task/list-filesystems.js';

export default class Filesystems extends BaseCommand<typeof Filesystems> {
  static override summary = 'list the filesystems in a disk image';
  static override description =
    `Names each filesystem as the guest does (/dev/sda1, /dev/vg/root), from the image's own metadata. --long adds its type, label and UUID as blkid spells them, the size of what it lies in and its own, and how much of it is used and free.

A filesystem that was not unmounted in good order, or that is damaged, is listed with its state; the status is 0.`;
  static override examples = [
    { description: 'Name the filesystems', command: '<%= config.bin %> filesystems guest.img' },
    { description: 'See how full they are', command: '<%= config.bin %> filesystems --long guest.img' },
    {
      description: 'List partitions, logical volumes, swap and the disk too, in bytes',
      command: '<%= config.bin %> filesystems --all --json guest.img',
    },
  ];
  static override enableJsonFlag = true;
  static override args = { image: imageArg() };
  static override flags = {
    all: Flags.boolean({
      summary: 'list partitions, logical volumes and their groups, the disk, and what is no filesystem as well',
    }),
    long: Flags.boolean({ char: 'l', summary: 'say all that is known of each' }),
    ...imageFlags,
  };

  async run(): Promise<Listing> {
    const { all, long } = this.flags;
    const listing = await listFilesystems({ image: this.args.image, all, ...sourceOf(this.flags) }, this.context);
    if (!this.jsonEnabled()) {
      const words = describeFilesystems(listing, long);
      if (words !== '') this.log(words);
      if (long) for (const remark of remarks(listing)) this.note(remark);
    }
    return listing;
  }
}
