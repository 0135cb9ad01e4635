import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
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
  static override usage = 'thaw MOUNT...|--all [--force] [--json]';
  static override args = {
    mount: Args.string({ description: 'the mount points', multiple: true, ignoreStdin: true }),
  };

  static override flags = {
    all: Flags.boolean({ summary: 'everything that disktool has frozen, and nothing else' }),
    force: Flags.boolean({ char: 'f', summary: 'thaw also what somebody else has frozen', exclusive: ['all'] }),
  };

  async run(): Promise<ThawResult> {
    const { all, force } = this.flags;
    const { mount = [] } = this.args;
    if (all && mount.length > 0) throw new DiskError('USAGE', '--all and MOUNT do not go together');
    if (!all && mount.length === 0) throw new DiskError('USAGE', 'MOUNT missing: name mount points, or --all');
    const result = await thaw({ mountPoints: all ? 'all' : mount, force }, this.context);
    if (!this.jsonEnabled()) {
      for (const mountPoint of result.thawed) this.log(`${mountPoint}: thawed`);
    }
    return result;
  }
}
