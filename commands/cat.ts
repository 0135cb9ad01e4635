import { Args } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { deviceArg, imageArg, imageFlags, sourceOf } from '../src/cli/flags.js';
import { cat } from '../src/task/cat.js';

export default class Cat extends BaseCommand<typeof Cat> {
  static override summary = 'print a file of a disk image';
  static override description =
    `Writes the bytes of a file of a guest's filesystem to standard output, and nothing else. Symbolic links are followed within that filesystem.`;
  static override examples = [
    { description: 'See which system it is', command: '<%= config.bin %> cat guest.img /dev/sda1 /etc/os-release' },
    {
      description: 'Take a disk out of a disk',
      command: '<%= config.bin %> cat guest.img LABEL=vms /inner.img | cp --sparse=always /dev/stdin inner.img',
    },
  ];
  static override args = {
    image: imageArg(),
    device: deviceArg(),
    path: Args.string({ description: 'the file, from the root of its filesystem', required: true, ignoreStdin: true }),
  };

  static override flags = { ...imageFlags };

  async run(): Promise<void> {
    const { image, device, path } = this.args;
    // No picture of progress: it would stand among the lines of the file.
    await cat(image, device, path, sourceOf(this.flags), this.context);
  }
}
