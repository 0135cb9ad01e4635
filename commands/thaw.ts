import { Args } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { type ThawResult, thaw } from '../src/task/thaw.js';

export default class Thaw extends BaseCommand<typeof Thaw> {
  static override summary = 'let frozen filesystems go on';
  static override description =
    'Fails with status 1 when one was not frozen any more: if its guard has thawed it because the time was up, a snapshot taken since is not consistent.';
  static override examples = [
    {
      description: 'Freeze, take a snapshot, and use it only when it is consistent',
      command: '<%= config.bin %> freeze /srv && take-snapshot && <%= config.bin %> thaw /srv && use-snapshot',
    },
  ];
  static override enableJsonFlag = true;
  static override args = {
    mount: Args.string({ description: 'the mount points', required: true, multiple: true, ignoreStdin: true }),
  };

  async run(): Promise<ThawResult> {
    const result = await thaw({ mountPoints: this.args.mount });
    if (!this.jsonEnabled()) {
      for (const mountPoint of result.thawed) this.log(`${mountPoint}: thawed`);
    }
    return result;
  }
}
