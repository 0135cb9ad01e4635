import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { deviceArg, imageArg, imageFlags, sourceOf } from '../src/cli/flags.js';
import { streamOut } from '../src/cli/stream-out.js';
import { filesAsJson, filesAsNames, filesAsTable } from '../src/cli/view/files.js';
import { listFiles } from '../src/task/list-files.js';

export default class Ls extends BaseCommand<typeof Ls> {
  static override summary = 'list files in a disk image';
  static override description =
    `Lists a directory of a guest's filesystem by name, or names one file. --long adds what ls -ln does: type and mode, names, owner and group by number, size, time of the last write in UTC, and the target of a symbolic link.

Control characters, backslashes and what is no UTF-8 are written as escapes, so that a name is a line. --json has names as they are, and where they are no UTF-8 their bytes beside them (pathBase64); with --long, all times, and extended attributes.

The journal of a filesystem that was not unmounted is replayed in memory, with a warning: what is shown is what the next mount will find. Where that cannot be done the filesystem is refused. Of an encrypted directory the names are shown encoded. What is damaged is left out and named; the status is then 3.`;
  static override examples = [
    { description: 'See what lies in a directory', command: '<%= config.bin %> ls guest.img /dev/sda1 /etc' },
    { description: 'See all that is known of it', command: '<%= config.bin %> ls -l guest.img /dev/sda1 /var/log' },
    { description: 'List every file', command: '<%= config.bin %> ls -R guest.img LABEL=root /' },
  ];
  static override enableJsonFlag = true;
  static override args = {
    image: imageArg(),
    device: deviceArg(),
    path: Args.string({
      description: 'the directory or file, from the root of its filesystem',
      required: true,
      ignoreStdin: true,
    }),
  };

  static override flags = {
    long: Flags.boolean({ char: 'l', summary: 'say what is known of each file' }),
    recursive: Flags.boolean({ char: 'R', summary: 'list all that lies below a directory, with whole paths' }),
    ...imageFlags,
  };

  async run(): Promise<void> {
    const { image, device, path } = this.args;
    const { long, recursive } = this.flags;
    const options = { ...sourceOf(this.flags), long, recursive };
    await using listing = await listFiles(image, device, path, options, this.context);
    this.streams = true;
    const text = long ? filesAsTable(listing, recursive) : filesAsNames(listing, recursive);
    await streamOut(this.jsonEnabled() ? filesAsJson(listing, long) : text, this.signal);
    if (listing.leftOut.length > 0) this.status = 3;
  }
}
