import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { formatFlag, sizeFlag, strict } from '../src/cli/flags.js';
import { formatSize } from '../src/cli/quantities.js';
import { type ZerofillResult, zerofill } from '../src/task/zerofill/zerofill.js';

export default class Zerofill extends BaseCommand<typeof Zerofill> {
  static override summary = 'overwrite free space with zeros';
  static override description =
    `Makes free space easy to shrink for other tools. A mount point is filled with zeros by a file without a name, of which nothing is left however this ends. In an image, what its filesystems call free is overwritten; what reads as zeros already is not, so that a sparse image does not grow. In a qcow2 image, which QEMU changes (see disktool-sparsify(1) for what is refused), it gets smaller by that.

Where the image itself can be changed, "sparsify" gives the room back at once and writes nothing.`;
  static override examples = [
    { description: 'Inside a guest, before its disk is copied', command: '<%= config.bin %> zerofill /' },
    { description: 'An image that is not in use', command: '<%= config.bin %> zerofill guest.img' },
  ];
  static override enableJsonFlag = true;
  static override args = {
    target: Args.string({
      description: 'a mount point, or a disk image: a file, a block device or an NBD URI',
      required: true,
      ignoreStdin: true,
    }),
  };

  static override flags = {
    reserve: sizeFlag({
      summary: 'leave this much of a mounted filesystem free for others meanwhile',
      description: 'Without it, 1 % of the filesystem and at least 64M.',
    }),
    force: Flags.boolean({ char: 'f', summary: 'write to an image although others have it open to read' }),
    ...formatFlag,
    strict,
  };

  async run(): Promise<ZerofillResult> {
    const { target } = this.args;
    const { reserve, force, format } = this.flags;
    const result = await this.withProgress(`zerofill ${target}`, (context) =>
      zerofill(target, { reserve, force, format }, context),
    );
    if (result.kind === 'image') this.#leftAlone(result.volumes);
    if (!this.jsonEnabled()) {
      this.log(`${target}: ${formatSize(result.zeroed)} of ${formatSize(result.free)} free overwritten with zeros`);
    }
    return result;
  }

  #leftAlone(volumes: Extract<ZerofillResult, { kind: 'image' }>['volumes']): void {
    for (const { device, leftAlone } of volumes) {
      if (leftAlone === undefined) continue;
      this.note(`${device}: left alone: ${leftAlone.reason}`);
      if (leftAlone.kind === 'refused' || this.flags.strict) this.status = 3;
    }
  }
}
