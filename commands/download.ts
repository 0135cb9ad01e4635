import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { deviceArg, imageArg, imageFlags, sourceOf } from '../src/cli/flags.js';
import { formatSize } from '../src/cli/quantities.js';
import { DiskError } from '../src/error/disk-error.js';
import { type DownloadResult, download } from '../src/task/download.js';

export default class Download extends BaseCommand<typeof Download> {
  static override summary = 'copy a partition or logical volume out of a disk image';
  static override description =
    `Copies one device of a guest, as the guest names it, to a sparse file, a block device, an NBD export or standard output: its bytes, whatever the format of the image.

A file appears whole or not at all, and is on the disk when the command ends. A block device or an NBD export is written in place.`;
  static override examples = [
    { description: 'The first partition', command: '<%= config.bin %> download guest.img /dev/sda1 root.img' },
    { description: 'A logical volume', command: '<%= config.bin %> download guest.img /dev/vg/root root.img' },
    { description: 'By its label', command: '<%= config.bin %> download guest.img LABEL=root root.img' },
    { description: 'Compressed', command: '<%= config.bin %> download guest.img /dev/sda1 - | zstd > root.zst' },
  ];
  static override enableJsonFlag = true;
  static override args = {
    image: imageArg(),
    device: deviceArg(),
    output: Args.string({
      description: 'the file, block device, NBD URI or pipe to write, or - for standard output',
      required: true,
      ignoreStdin: true,
    }),
  };

  static override flags = {
    force: Flags.boolean({
      char: 'f',
      summary: 'replace a file that is there already; copy what there is of a partition that is cut short',
    }),
    ...imageFlags,
  };

  async run(): Promise<DownloadResult> {
    const { image, device, output } = this.args;
    const { force } = this.flags;
    if (output === '-' && this.jsonEnabled()) {
      throw new DiskError('USAGE', '--json and - both need standard output: choose one');
    }
    const result = await this.withProgress(`download ${device}`, (context) =>
      download(image, device, output, { ...sourceOf(this.flags), force }, context),
    );
    if (!this.jsonEnabled() && output !== '-') {
      this.log(`${output}: ${result.device}, ${formatSize(result.size)}, ${formatSize(result.written)} written`);
    }
    return result;
  }
}
