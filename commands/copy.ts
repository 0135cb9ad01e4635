import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { forceShare, imageArg } from '../src/cli/flags.js';
import { formatSize } from '../src/cli/quantities.js';
import { DiskError } from '../src/error/disk-error.js';
import { copyImage } from '../src/task/copy.js';
import type { CopyResult } from '../src/task/copy-device.js';

export default class Copy extends BaseCommand<typeof Copy> {
  static override summary = 'copy a disk image, zeros as holes';
  static override description =
    `Copies a disk image. Blocks of zeros become holes, and where the file system can share blocks nothing is copied at all.

DST appears whole or not at all, and is on the disk when the command ends. A block device is written in place; to a pipe everything is written, zeros too.`;
  static override examples = [
    { description: 'Copy an image', command: '<%= config.bin %> copy guest.img backup.img' },
    {
      description: 'Leave out what the guest has deleted',
      command: '<%= config.bin %> copy --sparsify guest.img small.img',
    },
    { description: 'Write an image to a disk', command: '<%= config.bin %> copy guest.img /dev/sdx' },
  ];
  static override enableJsonFlag = true;
  static override args = {
    source: imageArg(),
    destination: Args.string({
      description: 'the file, block device or pipe to write, or - for standard output',
      required: true,
      ignoreStdin: true,
    }),
  };

  static override flags = {
    sparsify: Flags.boolean({ summary: 'leave out what the filesystems in the image call free' }),
    force: Flags.boolean({ char: 'f', summary: 'replace a file that is there already' }),
    'force-share': forceShare,
  };

  async run(): Promise<CopyResult> {
    const { source, destination } = this.args;
    const { sparsify, force, 'force-share': forceShare } = this.flags;
    if (destination === '-' && this.jsonEnabled()) {
      throw new DiskError('USAGE', '--json and - both need standard output: choose one');
    }
    const result = await this.withProgress(`copy ${source}`, (context) =>
      copyImage(source, destination, { sparsify, force, forceShare }, context),
    );
    if (!this.jsonEnabled() && destination !== '-') {
      this.log(
        `${destination}: ${formatSize(result.size)}, ${result.cloned ? 'shared with the source' : `${formatSize(result.written)} written`}`,
      );
    }
    return result;
  }
}
