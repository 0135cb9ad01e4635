import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { agentFlags, agentOf } from '../src/cli/freeze-flags.js';
import { DiskError } from '../src/error/disk-error.js';
import { type ThawResult, thaw } from '../src/task/thaw.js';

export default class Thaw extends BaseCommand<typeof Thaw> {
  static override summary = 'let frozen filesystems go on';
  static override description =
    `Fails with status 1 when one was not frozen any more: if its guard has thawed it because the time was up, a snapshot taken since is not consistent.

What disktool has not frozen is left alone, unless --force: whoever has may rely on it.`;
  static override examples = [
    {
      description: 'Freeze, take a snapshot, and use it only when it is consistent',
      command: '<%= config.bin %> freeze /srv && take-snapshot && <%= config.bin %> thaw /srv && use-snapshot',
    },
    { description: 'Thaw all that disktool has frozen', command: '<%= config.bin %> thaw --all' },
  ];
  static override enableJsonFlag = true;
  static override usage = 'thaw MOUNT...|--all|--agent SOCKET|--domain NAME [--force] [--json]';
  static override args = {
    mount: Args.string({ description: 'the mount points', multiple: true, ignoreStdin: true }),
  };

  static override flags = {
    ...agentFlags,
    all: Flags.boolean({ summary: 'everything that disktool has frozen, and nothing else' }),
    force: Flags.boolean({ char: 'f', summary: 'thaw also what somebody else has frozen', exclusive: ['all'] }),
  };

  async run(): Promise<ThawResult> {
    const result = await this.#thaw();
    if (!this.jsonEnabled()) {
      for (const mountPoint of result.thawed) this.log(`${mountPoint}: thawed`);
    }
    return result;
  }

  async #thaw(): Promise<ThawResult> {
    const { all, force } = this.flags;
    const { mount = [] } = this.args;
    const agent = agentOf(this.flags);
    const given = [all, mount.length > 0, agent !== undefined].filter(Boolean).length;
    if (given > 1) throw new DiskError('USAGE', 'MOUNT, --all, --agent and --domain do not go together');
    if (given === 0) throw new DiskError('USAGE', 'MOUNT missing: name mount points, --all, or --agent SOCKET');
    if (agent === undefined && !all) return await thaw({ mountPoints: mount, force }, this.context);
    // The machines' side is loaded for those who need it alone.
    const { thawAll, thawGuest } = await import('../src/task/thaw-guest.js');
    return agent === undefined ? await thawAll(this.context) : await thawGuest({ agent, force }, this.context);
  }
}
