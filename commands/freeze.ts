import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { agentFlags, agentOf, freezeFlags, hooksOf, inSeconds, neededFlag } from '../src/cli/freeze-flags.js';
import { describeStatus } from '../src/cli/view/freeze-status.js';
import { DiskError } from '../src/error/disk-error.js';
import type { AgentAddress } from '../src/machine/agent.js';
import { type FreezeResult, freeze } from '../src/task/freeze.js';
import { type FreezeStatus, freezeStatus } from '../src/task/freeze-status.js';

export default class Freeze extends BaseCommand<typeof Freeze> {
  static override summary = 'hold mounted filesystems still, for a consistent snapshot';
  static override description =
    `Writes out what is in memory, then makes everybody wait who writes to the filesystems, until "thaw". A guard of its own thaws them when the time is up, so that none is ever forgotten.

With a command after "--": freezes, runs the command, and thaws whatever happens, also when disktool is killed. The status is the command's; 128 + n when signal n ended it; 124 when the time was up first (then it is thawed, and the command gets SIGTERM, and SIGKILL 10 s later); 1 when something could not be thawed.

Several filesystems are frozen in an order that cannot block: inner ones first, thawed in reverse.

--agent and --domain freeze a guest from outside, through its guest agent: all of its filesystems, or those at the MOUNTs that it has. The guard is on this machine, has the connection meanwhile, and reports what an agent that fails has left behind.

--status asks which are frozen: those that disktool has frozen, those that are named, or with --all every one. The kernel tells only who freezes: where that succeeds it is undone at once, by a guard.`;
  static override examples = [
    {
      description: 'Take an LVM snapshot of a filesystem at rest',
      command: '<%= config.bin %> freeze /srv -- lvcreate --snapshot --name before --size 5G vg/srv',
    },
    {
      description: 'The same by hand: thaw fails if it took longer than two minutes',
      command: '<%= config.bin %> freeze /srv --timeout 2m && take-snapshot && <%= config.bin %> thaw /srv',
    },
    {
      description: 'Have a database write out what it holds before, and go on after',
      command: '<%= config.bin %> freeze /srv --hooks /etc/qemu/fsfreeze-hook.d -- take-snapshot',
    },
    {
      description: 'Freeze a guest from outside while its disk is copied',
      command: '<%= config.bin %> freeze --agent /run/guest/agent.sock -- cp --reflink guest.img copy.img',
    },
    { description: 'See what is frozen', command: '<%= config.bin %> freeze --status /srv' },
  ];
  static override enableJsonFlag = true;
  static override takesCommand = true;
  static override usage =
    'freeze MOUNT...|--all|--agent SOCKET|--domain NAME [--timeout TIME] [--hooks DIR] [--force] [--status] [--json] [-- COMMAND...]';
  static override args = {
    mount: Args.string({ description: 'the mount points', multiple: true, ignoreStdin: true }),
  };

  static override flags = {
    all: Flags.boolean({
      summary: 'every filesystem that can be frozen, but the root',
      description: 'On block devices, and writable; kinds of filesystem that cannot be frozen are left out.',
    }),
    status: Flags.boolean({ summary: 'say what is frozen, and freeze nothing' }),
    ...agentFlags,
    ...freezeFlags,
    force: Flags.boolean({ ...neededFlag, char: 'f' }),
  };

  async run(): Promise<FreezeResult | FreezeStatus> {
    const { all, status, force } = this.flags;
    const { mount = [] } = this.args;
    const command = this.commandLine;
    if (command?.length === 0) throw new DiskError('USAGE', 'no command after "--"');
    if (all && mount.length > 0) throw new DiskError('USAGE', '--all and MOUNT do not go together');
    if (status && command !== undefined) throw new DiskError('USAGE', '--status runs no command');
    const agent = agentOf(this.flags);
    if (status && agent !== undefined) return await this.#guestStatus(agent);
    if (status) return await this.#status(all ? 'all' : mount.length > 0 ? mount : 'recorded');
    if (!all && agent === undefined && mount.length === 0) {
      throw new DiskError('USAGE', 'MOUNT missing: name mount points, --all, or --agent SOCKET');
    }
    const { timeout } = this.flags;
    const mountPoints = all ? 'all' : mount;
    const options = { mountPoints, agent, timeout, force, hooks: hooksOf(this.flags), command } as const;
    const result = await freeze(options, this.context);
    this.#report(result);
    return result;
  }

  async #guestStatus(agent: AgentAddress): Promise<FreezeStatus> {
    const { guestStatus } = await import('../src/task/guest-status.js');
    const status = await guestStatus(agent, this.context);
    if (!this.jsonEnabled()) this.log(describeStatus(status));
    return status;
  }

  async #status(mountPoints: readonly string[] | 'all' | 'recorded'): Promise<FreezeStatus> {
    const status = await freezeStatus({ mountPoints, force: this.flags.force }, this.context);
    if (!this.jsonEnabled()) this.log(describeStatus(status));
    return status;
  }

  #report({ frozen, timeout, command }: FreezeResult): void {
    if (command !== undefined) {
      this.status = command.status;
      if (command.timedOut) {
        this.complain(`thawed after ${inSeconds(timeout)}, before the command was done: what it saw is not consistent`);
      }
    } else if (!this.jsonEnabled()) {
      const until = timeout === 0 ? `stays so until "disktool thaw"` : `thaws by itself in ${inSeconds(timeout)}`;
      for (const mountPoint of frozen) this.log(`${mountPoint}: frozen, ${until}`);
    }
  }
}
