import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { imageArg } from '../src/cli/flags.js';
import { agentFlags, agentOf, freezeFlags, hooksOf, neededFlag } from '../src/cli/freeze-flags.js';
import { formatDuration, formatSize } from '../src/cli/quantities.js';
import { DiskError } from '../src/error/disk-error.js';
import type { SnapshotResult } from '../src/task/snapshot/snapshot.js';

export default class Snapshot extends BaseCommand<typeof Snapshot> {
  static override summary = 'copy a disk image that is in use, while its filesystems stand still';
  static override description =
    `Freezes, copies, thaws, and says how long everybody stood still: so the copy shows one moment of the disk, and its filesystems need no recovery. What is frozen is on this machine (--freeze), or in a guest (--agent, --domain: all of its filesystems, or those that --freeze names).

The copy is shared with the image where the file system can share blocks, which takes no time; else zeros become holes, and all stands still for as long as it takes. It appears whole or not at all: when --timeout was up first it is gone, and the status is 1.

A raw image may be in use. One of another format that somebody writes to is refused, for a part of it is in their memory; that of a QEMU is copied by QEMU itself with --qmp, which needs the guest to stand still only until it has begun.`;
  static override examples = [
    {
      description: 'Copy the raw image of a running guest',
      command: '<%= config.bin %> snapshot guest.img copy.img --agent /run/guest/agent.sock',
    },
    {
      description: 'Copy the qcow2 image of a running guest through QEMU',
      command: '<%= config.bin %> snapshot guest.qcow2 copy.qcow2 --domain guest --qmp /run/guest/qmp.sock',
    },
    {
      description: 'Copy an image that is mounted here',
      command: '<%= config.bin %> snapshot disk.img copy.img --freeze /mnt',
    },
  ];
  static override enableJsonFlag = true;
  static override usage =
    'snapshot IMAGE OUT --freeze MOUNT|--agent SOCKET|--domain NAME [--qmp SOCKET] [--timeout TIME] [--json]';
  static override args = {
    image: imageArg(),
    out: Args.string({ description: 'the file to write', required: true, ignoreStdin: true }),
  };

  static override flags = {
    freeze: Flags.string({
      summary: 'freeze the filesystem at this mount point; with --agent or --domain, one of the guest',
      helpValue: 'MOUNT',
      multiple: true,
      multipleNonGreedy: true,
    }),
    ...agentFlags,
    qmp: Flags.string({
      summary: 'have the QEMU that has the image open make the copy, through its monitor (QMP) at this unix socket',
      helpValue: 'SOCKET',
    }),
    ...freezeFlags,
    'force-freeze': Flags.boolean(neededFlag),
    format: Flags.option({ options: ['raw', 'qcow2'] as const })({
      summary: 'the format of the image, which is otherwise found out by its first bytes',
    }),
    convert: Flags.option({ options: ['raw', 'qcow2'] as const })({
      summary: 'the format of the copy, which is otherwise that of the image',
    }),
    force: Flags.boolean({ char: 'f', summary: 'replace a file that is there already' }),
  };

  async run(): Promise<SnapshotResult> {
    const { image, out } = this.args;
    const { freeze: mountPoints = [], qmp, timeout, format, convert, force: replace } = this.flags;
    const agent = agentOf(this.flags);
    if (agent === undefined && mountPoints.length === 0) {
      throw new DiskError('USAGE', 'nothing to freeze: say --freeze MOUNT, --agent SOCKET or --domain NAME');
    }
    if (out === '-') throw new DiskError('USAGE', 'a snapshot goes to a file: name one');
    const freezing = { mountPoints, agent, timeout, hooks: hooksOf(this.flags) };
    const options = { ...freezing, freezeNeeded: this.flags['force-freeze'], qmp, format, convert, replace };
    const { snapshot } = await import('../src/task/snapshot/snapshot.js');
    const result = await this.withProgress(`snapshot ${image}`, (context) => snapshot(image, out, options, context));
    const how = result.cloned ? ', shared with the image' : '';
    const time = result.frozenFor < 1000 ? `${result.frozenFor} ms` : formatDuration(result.frozenFor);
    const still = `frozen for ${time}: ${result.frozen.join(', ')}`;
    if (!this.jsonEnabled()) this.log(`${out}: ${result.format}, ${formatSize(result.size)}${how}; ${still}`);
    return result;
  }
}
