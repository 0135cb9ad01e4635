import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { conversionFlags, conversionOf } from '../src/cli/conversion-flags.js';
import { imageArg, imageFlags, sourceOf, strict } from '../src/cli/flags.js';
import { freeSpaceFlags, freeSpaceOf, saidOfFreeSpace } from '../src/cli/free-space-flags.js';
import { formatSize } from '../src/cli/quantities.js';
import { verifyFlag } from '../src/cli/sparsify-flags.js';
import { describeSparsify } from '../src/cli/view/sparsify.js';
import { DiskError } from '../src/error/disk-error.js';
import { type CopyImageResult, copyImage } from '../src/task/copy.js';
import { reportStatus, type SparsifyReport } from '../src/task/sparsify/report.js';

export default class Copy extends BaseCommand<typeof Copy> {
  static override summary = 'copy a disk image, zeros as holes';
  static override description =
    `Copies a disk image. Blocks of zeros become holes, and where the file system can share blocks nothing is copied at all.

DESTINATION has the format of the image, whatever its name: the copy of a qcow2 image is one that stands on no other, whatever the image stands on, and is not compressed unless --compress says so. It appears whole or not at all, and is on the disk when the command ends. A raw copy may go to a block device or an NBD export, which is written in place, or to a pipe, to which everything is written, zeros too.`;
  static override examples = [
    { description: 'Copy an image', command: '<%= config.bin %> copy guest.img backup.img' },
    {
      description: 'Leave out what the guest has deleted',
      command: '<%= config.bin %> copy --sparsify guest.img small.img',
    },
    {
      description: 'Make a raw image of a qcow2 image',
      command: '<%= config.bin %> copy --convert raw guest.qcow2 guest.img',
    },
    {
      description: 'Make a compressed qcow2 image without what the guest has deleted',
      command: '<%= config.bin %> copy --sparsify --convert qcow2 --compress zstd guest.img guest.qcow2',
    },
    { description: 'Write an image to a disk', command: '<%= config.bin %> copy guest.img /dev/sdx' },
    {
      description: 'Copy from an NBD server under TLS',
      command: "<%= config.bin %> copy 'nbds://host/disk?tls-certificates=/etc/pki/libnbd' backup.img",
    },
  ];
  static override enableJsonFlag = true;
  static override args = {
    source: imageArg(),
    destination: Args.string({
      description: 'the file, block device, NBD URI or pipe to write, or - for standard output',
      required: true,
      ignoreStdin: true,
    }),
  };

  static override flags = {
    sparsify: Flags.boolean({ summary: 'leave out what the filesystems in the image call free' }),
    ...freeSpaceFlags,
    verify: verifyFlag,
    force: Flags.boolean({ char: 'f', summary: 'replace a file that is there already' }),
    ...imageFlags,
    ...conversionFlags,
    strict,
  };

  async run(): Promise<CopyImageResult | SparsifyReport> {
    const { source, destination } = this.args;
    const { sparsify, strict, force, verify } = this.flags;
    const options = { ...sourceOf(this.flags), ...conversionOf(this.flags), force };
    if (destination === '-' && this.jsonEnabled()) {
      throw new DiskError('USAGE', '--json and - both need standard output: choose one');
    }
    const said = saidOfFreeSpace(this.flags) ?? (verify ? '--verify' : undefined);
    if (said !== undefined && !sparsify) throw new DiskError('USAGE', `${said} goes with --sparsify`);
    const silent = this.jsonEnabled() || destination === '-';
    if (sparsify) {
      // A plain copy need not wait for the parsers of partition tables and filesystems to load.
      const { sparsifyCopy } = await import('../src/task/sparsify/sparsify-copy.js');
      const report = await this.withProgress(`copy ${source}`, (context) =>
        sparsifyCopy(source, destination, { ...options, ...freeSpaceOf(this.flags), verify }, context),
      );
      this.status = reportStatus(report, strict);
      if (!silent) this.log(describeSparsify(report));
      return report;
    }
    const result = await this.withProgress(`copy ${source}`, (context) =>
      copyImage(source, destination, options, context),
    );
    const how = result.cloned ? 'shared with the source' : `${formatSize(result.written)} written`;
    if (!silent) this.log(`${destination}: ${result.format}, ${formatSize(result.size)}, ${how}`);
    return result;
  }
}
