import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { durationFlag } from '../src/cli/flags.js';
import { formatDuration } from '../src/cli/quantities.js';
import { DiskError } from '../src/error/disk-error.js';
import { type FreezeResult, freeze } from '../src/task/freeze.js';

export default class Freeze extends BaseCommand<typeof Freeze> {
  static override summary = 'hold mounted filesystems still, for a consistent snapshot';
  static override description =
    `Writes out what is in memory, then makes everybody wait who writes to the filesystems, until "thaw". A guard of its own thaws them when the time is up, so that none is ever forgotten.

With a command after "--": freezes, runs the command, and thaws whatever happens, also when disktool is killed. The status is the command's; 128 + n when signal n ended it; 124 when the time was up first (then it is thawed, and the command gets SIGTERM, and SIGKILL 10 s later); 1 when something could not be thawed.

Several filesystems are frozen in an order that cannot block: inner ones first, thawed in reverse.`;
  static override examples = [
    {
      description: 'Take an LVM snapshot of a filesystem at rest',
      command: '<%= config.bin %> freeze /srv -- lvcreate --snapshot --name before --size 5G vg/srv',
    },
    {
      description: 'The same by hand: thaw fails if it took longer than two minutes',
      command: '<%= config.bin %> freeze /srv --timeout 2m && take-snapshot && <%= config.bin %> thaw /srv',
    },
  ];
  static override enableJsonFlag = true;
  static override takesCommand = true;
  static override usage = 'freeze MOUNT... [--timeout TIME] [--force] [--json] [-- COMMAND...]';
  static override args = {
    mount: Args.string({ description: 'the mount points', required: true, multiple: true, ignoreStdin: true }),
  };

  static override flags = {
    timeout: durationFlag({
      summary: 'thaw by itself after this time; 0: never',
      default: 60_000,
      defaultHelp: async () => '60s',
    }),
    force: Flags.boolean({
      char: 'f',
      summary: 'freeze also the root filesystem, or one that disktool needs itself',
      description: 'Whoever writes to it waits, which may be the shell that you would thaw it with.',
    }),
  };

  async run(): Promise<FreezeResult> {
    const { timeout, force } = this.flags;
    const command = this.commandLine;
    if (command?.length === 0) throw new DiskError('USAGE', 'no command after "--"');
    const result = await freeze({ mountPoints: this.args.mount, timeout, force, command }, this.context);
    if (result.command !== undefined) {
      this.status = result.command.status;
      if (result.command.timedOut) {
        this.complain(`thawed after ${inSeconds(timeout)}, before the command was done: what it saw is not consistent`);
      }
    } else if (!this.jsonEnabled()) {
      const until = timeout === 0 ? `stays so until "disktool thaw"` : `thaws by itself in ${inSeconds(timeout)}`;
      for (const mountPoint of result.frozen) this.log(`${mountPoint}: frozen, ${until}`);
    }
    return result;
  }
}

/** Up to two minutes in seconds, as timeouts are spoken of. */
function inSeconds(time: number): string {
  return time >= 1000 && time <= 120_000 ? `${Math.round(time / 1000)} s` : formatDuration(time);
}
