import { BaseCommand } from '../src/cli/base-command.js';
import { imageArg, sourceOf, wholeImageFlags } from '../src/cli/flags.js';
import { describeInfo } from '../src/cli/view/info.js';
import { type DiskInfo, imageInfo } from '../src/task/info.js';

export default class Info extends BaseCommand<typeof Info> {
  static override summary = 'say what a disk image is';
  static override description =
    `Tells the format and the sizes of an image, what it takes on the host, its backing files, snapshots and features, the partition table of its disk, and its logical volumes.

What cannot be read is said with its reason, and the rest is told: the status is 0 as long as the first bytes of the image can be read. Backing files are followed as far as any command would follow them: those of an image whose format was only found out by its first bytes, which a guest can write, are named and not opened.`;
  static override examples = [
    { description: 'See what it is', command: '<%= config.bin %> info guest.img' },
    {
      description: 'See what an overlay stands on',
      command: '<%= config.bin %> info --format qcow2 overlay.qcow2',
    },
    {
      description: 'The size of its disk, in bytes',
      command: "<%= config.bin %> info --json guest.qcow2 | jq '.images[0].virtualSize'",
    },
  ];
  static override enableJsonFlag = true;
  static override args = { image: imageArg() };
  static override flags = wholeImageFlags;

  async run(): Promise<DiskInfo> {
    const info = await imageInfo({ image: this.args.image, ...sourceOf(this.flags) }, this.context);
    if (!this.jsonEnabled()) {
      this.log(describeInfo(info));
      for (const warning of info.partitionTable?.warnings ?? []) this.note(`${this.args.image}: ${warning}`);
    }
    return info;
  }
}
