import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { diskOf, exposeFlags } from '../src/cli/expose-flags.js';
import { formatSize } from '../src/cli/quantities.js';
import { viewStats } from '../src/cli/view/stats.js';
import { continueInBackground, leaveForeground, takeBackground } from '../src/task/expose/background.js';
import { type ExposeOptions, type ExposeReady, expose } from '../src/task/expose/expose.js';
import { unexpose } from '../src/task/expose/unmount.js';

export default class Expose extends BaseCommand<typeof Expose> {
  static override summary = 'show a disk as a file';
  static override description =
    `FILE becomes a regular file whose bytes are the disk's: reads and writes go through, fsync makes them durable, and its holes are those of the disk (SEEK_DATA, SEEK_HOLE, st_blocks); what is punched (fallocate) is given back. Its size stays as it is: programs that truncate what they write to have to be told not to (dd conv=notrunc). FILE is made if it is not there, and gone again at the end; it must be empty, for what it holds would be hidden.

Shows it until SIGINT or SIGTERM, until the command of --run ends, or until it is unmounted (umount, fusermount3 -u, --unmount); then makes everything durable and exits with status 0, or that of the command. Who still has it open then is answered for 3 seconds; for as long as a loop device is on it, whose filesystem would lose what it has not written. A second signal ends that.

Root mounts by itself, everybody else by fusermount3, of the package fuse3; what a user mounts is hidden from everybody else, root too, without --allow-other. The mount of a process that was killed is taken away by --unmount, or when something is shown there again.

Nobody else can write to an image while it is shown. Layers stand between the disk and the file in one order, from the disk outwards: --cow, --round-up and --round-down, errors, delays, --rate, --stats, --log.`;
  static override usage = 'expose FILE --image IMAGE | --file PATH | --memory SIZE | --unmount [FLAGS]';
  static override examples = [
    { description: 'A file of 7 exabytes', command: '<%= config.bin %> expose big --memory 7E' },
    {
      description: 'Mount a partition of a qcow2 image',
      command:
        "<%= config.bin %> expose disk --image a.qcow2 --partition /dev/sda1 --run 'mount -o loop $file /mnt; sh; umount /mnt'",
    },
    {
      description: 'All partitions and logical volumes of an image, as files in a folder',
      command: '<%= config.bin %> expose guest --image a.qcow2 --all --background && e2fsck -f guest/sda1',
    },
    { description: 'Take it away again', command: '<%= config.bin %> expose guest --unmount' },
    {
      description: 'A disk that fails with EIO from "touch /tmp/inject" to "rm /tmp/inject"',
      command: '<%= config.bin %> expose disk --memory 4G --error-file /tmp/inject',
    },
    {
      description: 'Try something out on a disk, which stays as it is',
      command: "<%= config.bin %> expose disk --image a.img --cow --run 'e2fsck -fy $file'",
    },
  ];
  static override enableJsonFlag = true;
  static override args = {
    file: Args.string({
      description: 'where to show it: a file, or with --all a folder, that is empty or not there',
      required: true,
      ignoreStdin: true,
    }),
  };

  static override flags = {
    ...exposeFlags,
    unmount: Flags.boolean({
      summary: 'unmount what is shown there, and wait until all of it is durable',
      exclusive: ['image', 'file', 'memory', 'all', 'run', 'background'],
    }),
  };

  async run(): Promise<void> {
    const { flags } = this;
    const path = this.args.file;
    if (flags.unmount) {
      await unexpose(path, this.context);
      if (this.jsonEnabled()) this.logJson({ path });
      return;
    }
    const goesOn = takeBackground();
    const options: ExposeOptions = {
      path,
      disk: diskOf(flags),
      all: flags.all,
      allowOther: flags['allow-other'],
      mask: process.umask(),
      run: flags.run,
      pidFile: flags['pid-file'],
      logFile: flags.log,
      exitWithParent: flags['exit-with-parent'],
    };
    if (flags.background && !goesOn) {
      this.status = (await continueInBackground(this.signal)) ?? 0;
      return;
    }
    const { status, stats } = await expose(options, this.context, (ready) => {
      this.#tell(ready);
      if (goesOn) leaveForeground();
    });
    this.status = status;
    if (stats !== undefined) process.stderr.write(viewStats([[path, stats]]));
  }

  #tell(ready: ExposeReady): void {
    this.commandOnTerminal = this.flags.run !== undefined;
    // The command has our standard output, and knows where.
    if (this.flags.run !== undefined) return;
    if (this.jsonEnabled()) this.logJson(ready);
    else {
      const [whole] = ready.files;
      const size = formatSize(whole?.size ?? 0n);
      const unmount = process.geteuid?.() === 0 ? 'umount' : 'fusermount3 -u';
      this.log(`showing ${ready.name} (${size}) as ${ready.path}: unmount it with: ${unmount} ${ready.path}`);
    }
  }
}
