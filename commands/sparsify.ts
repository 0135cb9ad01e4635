import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { conversionFlags, conversionOf, saidOfConversion } from '../src/cli/conversion-flags.js';
import { explain } from '../src/cli/failure.js';
import { imageFlags, sourceOf, strict } from '../src/cli/flags.js';
import { freeSpaceFlags, freeSpaceOf } from '../src/cli/free-space-flags.js';
import { describeSparsify } from '../src/cli/view/sparsify.js';
import { DiskError } from '../src/error/disk-error.js';
import type { TaskContext } from '../src/task/context.js';
import { reportStatus, type SparsifyReport } from '../src/task/sparsify/report.js';
import { sparsify } from '../src/task/sparsify/sparsify.js';
import { sparsifyCopy } from '../src/task/sparsify/sparsify-copy.js';

export default class Sparsify extends BaseCommand<typeof Sparsify> {
  static override summary = 'make disk images small again';
  static override description =
    `Finds what the filesystems in an image call free, from their own metadata, and gives it back to the host: in place, or by writing a copy without it (--output). Then gives back what is zeros anyway.

No byte in use is touched, and the image is whole whenever the work is stopped. A filesystem whose word cannot be believed (it has errors, its guest is hibernated) is left alone; the status is then 3.

The journal of an ext3 or ext4 filesystem that was not unmounted, because its guest crashed, is replayed in memory: what is free before and after that is given back, and the journal stays for the guest to replay. One that is damaged, or irregular in any way, is not replayed, and its filesystem left alone; so it is under --no-replay.

A qcow2 image is changed by QEMU's own hand (qemu-nbd). Before that it is refused when it holds internal snapshots, needs a repair, or keeps its data elsewhere; and, without --force, when it stands on a backing file, of which nothing is given back. An image that another one stands on must never be changed: those in its own folder are looked at, and overlays that lie elsewhere and are not in use cannot be found. Images of other formats are not changed in place: --output writes a copy.`;
  static override examples = [
    { description: 'Shrink an image in place', command: '<%= config.bin %> sparsify guest.img' },
    { description: 'See what that would give back', command: '<%= config.bin %> sparsify --dry-run guest.img' },
    {
      description: 'Write a small copy and leave the image as it is',
      command: '<%= config.bin %> sparsify guest.img --output small.img',
    },
    {
      description: 'Write it as a compressed qcow2 image',
      command: '<%= config.bin %> sparsify guest.img --output small.qcow2 --convert qcow2 --compress zstd',
    },
    { description: 'Leave one filesystem alone', command: '<%= config.bin %> sparsify guest.img --ignore /dev/sda2' },
  ];
  static override enableJsonFlag = true;
  static override args = {
    image: Args.string({
      description: 'the disk images: files, block devices or NBD URIs',
      required: true,
      multiple: true,
      ignoreStdin: true,
    }),
  };

  static override flags = {
    output: Flags.string({
      summary: 'write a copy to this file (a raw one to a block device or NBD URI too), and leave the image as it is',
      helpValue: 'OUT',
    }),
    'dry-run': Flags.boolean({ char: 'n', summary: 'say what would be given back (zeros apart), and change nothing' }),
    ...freeSpaceFlags,
    zero: Flags.string({
      summary: 'give up all that is in this partition',
      description: 'In place, anything but swap needs --force as well.',
      helpValue: 'DEVICE',
      multiple: true,
      multipleNonGreedy: true,
    }),
    scan: Flags.boolean({ default: true, allowNo: true, summary: 'look for zeros in use as well' }),
    discard: Flags.boolean({ summary: 'IMAGE may be a block device: have it discard what is free' }),
    force: Flags.boolean({
      char: 'f',
      summary: 'wipe what --zero names, go on although others read the image, replace OUT',
    }),
    ...imageFlags,
    ...conversionFlags,
    strict,
  };

  async run(): Promise<{ images: readonly (SparsifyReport | object)[] }> {
    const { image: images } = this.args;
    const { output } = this.flags;
    if (output !== undefined && images.length > 1) {
      throw new DiskError('USAGE', `--output takes one image, not ${images.length}`);
    }
    const said = saidOfConversion(this.flags);
    if (said !== undefined && output === undefined) {
      throw new DiskError('USAGE', `${said} goes with --output: an image keeps its format where it lies`);
    }
    if (output === '-')
      throw new DiskError('USAGE', '--output takes a file: to write to standard output, use copy --sparsify');
    if (this.flags['force-share'] && output === undefined && !this.flags['dry-run']) {
      throw new DiskError(
        'USAGE',
        '--force-share goes with --dry-run or --output: what others write to is never changed',
      );
    }
    const reports: (SparsifyReport | object)[] = [];
    for (const image of images) {
      try {
        const report = await this.withProgress(`sparsify ${image}`, (context) => this.#sparsify(image, context));
        reports.push(report);
        if (!this.jsonEnabled()) this.log(describeSparsify(report));
        if (this.status === 0) this.status = reportStatus(report, this.flags.strict);
      } catch (error) {
        // The only image, or a signal: that is the end. Else the others go on.
        if (images.length === 1 || this.signal.aborted) throw error;
        const { message, document } = explain(error);
        this.complain(message);
        reports.push({ image, ...document });
        this.status = 1;
      }
    }
    return { images: reports };
  }

  #sparsify(image: string, context: TaskContext): Promise<SparsifyReport> {
    const { output, 'dry-run': dryRun, zero, scan, discard, force } = this.flags;
    const common = { ...sourceOf(this.flags), ...freeSpaceOf(this.flags), zero, force };
    const conversion = conversionOf(this.flags);
    return output === undefined || dryRun
      ? sparsify(image, { ...common, dryRun, scan, discard }, context)
      : sparsifyCopy(image, output, { ...common, ...conversion }, context);
  }
}
