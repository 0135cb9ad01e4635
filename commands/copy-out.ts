import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { deviceArg, imageArg, imageFlags, sourceOf } from '../src/cli/flags.js';
import { copyOutDocument, describeCopyOut } from '../src/cli/view/copy-out.js';
import { DiskError } from '../src/error/disk-error.js';
import { copyOut } from '../src/task/copy-out/copy-out.js';

export default class CopyOut extends BaseCommand<typeof CopyOut> {
  static override summary = 'copy files and directories out of a disk image';
  static override description =
    `Copies files and whole directories of a guest's filesystem into a folder, as "cp -a" does: modes, times, symbolic links as they are, holes, extended attributes and access lists as far as the folder's filesystem takes them, and hard links among what is copied. Run by root it keeps owners, and makes devices.

Nothing outside the folder is touched, whatever names and links the image holds. A file has its name only once it is whole, and all is on the disk when the command ends.

What cannot be copied alone (what is encrypted or damaged, a device unless by root) is left out and named; the status is then 3.`;
  static override examples = [
    { description: 'Copy a directory', command: '<%= config.bin %> copy-out guest.img /dev/sda1 /etc .' },
    {
      description: 'Copy several files into one folder',
      command: '<%= config.bin %> copy-out guest.img LABEL=root /etc/fstab /var/log/syslog found/',
    },
    { description: 'Copy all there is', command: '<%= config.bin %> copy-out guest.img /dev/sda1 / tree/' },
  ];
  static override usage = 'copy-out IMAGE DEVICE PATH... DIR [FLAGS]';
  static override enableJsonFlag = true;
  static override args = {
    image: imageArg(),
    device: deviceArg(),
    path: Args.string({
      description: 'what to copy, from the root of its filesystem, and last the folder that it goes to',
      required: true,
      multiple: true,
      ignoreStdin: true,
    }),
  };

  static override flags = {
    force: Flags.boolean({ char: 'f', summary: 'replace files that are there already, and fill folders' }),
    ...imageFlags,
  };

  async run(): Promise<object> {
    const { image, device } = this.args;
    const { force } = this.flags;
    const paths = this.args.path.slice(0, -1);
    const folder = this.args.path.at(-1);
    if (folder === undefined || paths.length === 0) {
      throw new DiskError(
        'USAGE',
        'say what to copy, and last the folder that it goes to: copy-out IMAGE DEVICE PATH DIR',
      );
    }
    const result = await this.withProgress(`copy-out ${device}`, (context) =>
      copyOut(image, device, paths, folder, { ...sourceOf(this.flags), force }, context),
    );
    if (result.leftOut.length > 0) this.status = 3;
    if (!this.jsonEnabled()) this.log(`${folder}: ${describeCopyOut(result)}`);
    return copyOutDocument(result);
  }
}
