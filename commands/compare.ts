import { Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { imageArg, sourceOf, twoImagesFlags } from '../src/cli/flags.js';
import { describeComparison, sizeRemark } from '../src/cli/view/compare.js';
import { type Comparison, compareImages, stageOf } from '../src/task/compare.js';

/** The statuses of `qemu-img compare` for what could not be compared: 1 says that the two differ. */
const statuses = { open: 2, map: 3, read: 4 } as const;

export default class Compare extends BaseCommand<typeof Compare> {
  static override summary = 'say whether two disk images hold the same';
  static override description =
    `Compares what the guest would read, whatever the formats, and names the first byte that differs. What both images know to be zeros is not read. The shorter of two images is taken to go on with zeros: a rest of zeros is no difference, but a note.

The status is that of qemu-img compare: 0 when they are the same, 1 when they differ, 2 when an image cannot be opened or the usage is wrong, 3 when what they have allocated cannot be told, 4 when one cannot be read, 128+n when ended by signal n.`;
  static override examples = [
    { description: 'Check a copy', command: '<%= config.bin %> compare guest.qcow2 guest.img' },
    {
      description: 'Sizes and allocation must be the same too',
      command: '<%= config.bin %> compare --strict guest.img backup.img',
    },
    {
      description: 'What has changed since a snapshot was taken',
      command: '<%= config.bin %> compare --snapshot before guest.qcow2 guest.qcow2',
    },
    {
      description: 'Compare with what a server has',
      command: '<%= config.bin %> compare guest.img nbd://localhost/disk',
    },
  ];
  static override enableJsonFlag = true;
  static override args = {
    a: imageArg('a disk image: a file, a block device or an nbd:// URI'),
    b: imageArg('the one that it is compared with'),
  };
  static override flags = {
    strict: Flags.boolean({
      char: 's',
      summary: 'other sizes are a difference, and so is room that one image alone takes',
    }),
    ...twoImagesFlags,
  };

  async run(): Promise<Comparison> {
    const { a, b } = this.args;
    const { strict, format2, snapshot2 } = this.flags;
    const source = sourceOf(this.flags);
    const other = { ...source, format: format2, snapshot: snapshot2 };
    const result = await this.withProgress(`compare ${a} ${b}`, (context) =>
      compareImages({ image: a, ...source }, { image: b, ...other }, { strict }, context),
    );
    this.status = result.same ? 0 : 1;
    const remark = sizeRemark(result);
    if (remark !== undefined) this.note(remark);
    if (!this.jsonEnabled()) this.log(describeComparison(result));
    return result;
  }

  protected override failureStatus(error: unknown): number {
    return statuses[stageOf(error)];
  }
}
