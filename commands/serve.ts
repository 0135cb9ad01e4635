import { Args } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { exportFlags, exportsOf } from '../src/cli/export-flags.js';
import { imageDescription, imageFlags } from '../src/cli/flags.js';
import { toJson } from '../src/cli/json.js';
import { layerFlags } from '../src/cli/layer-flags.js';
import { formatSize } from '../src/cli/quantities.js';
import { addressFlags, addressOf, isInherited, lifetimeFlags, sourceFlags } from '../src/cli/serve-flags.js';
import { tlsAsked, tlsFlags } from '../src/cli/tls-flags.js';
import { traceFlags, traceOf, tracesToOutput } from '../src/cli/trace-flags.js';
import { viewStats } from '../src/cli/view/stats.js';
import { traceSummaryAsJson, viewTraceSummary } from '../src/cli/view/trace-summary.js';
import { type ServeOptions, serve } from '../src/task/serve/serve.js';

export default class Serve extends BaseCommand<typeof Serve> {
  static override summary = 'serve disks over NBD';
  static override description =
    `Serves until SIGINT or SIGTERM, until the command of --run ends, or the client of --single leaves; then answers what it has received, makes it durable and exits with status 0, or that of the command. One line for each export says where, once clients can connect; with --json, one document.

Nobody else can write to an image while it is served. Room that clients trim or zero is given back to the host. To a qcow2 image, QEMU writes for them (qemu-nbd); images of formats other than raw and qcow2, and one that another one in its folder stands on, are only served with --read-only or --cow.

Sockets that systemd has opened (LISTEN_FDS) are used where there are any.

Layers stand between the disk and its clients in one order, from the disk outwards: --cow, --round-up and --round-down, errors, delays, --rate, --stats, --log.`;
  static override usage = 'serve IMAGE | --file PATH | --memory SIZE | --export NAME=IMAGE… [FLAGS]';
  static override examples = [
    { description: 'Serve an image on this machine, port 10809', command: '<%= config.bin %> serve a.img' },
    {
      description: 'Serve an image to one command',
      command: "<%= config.bin %> serve a.qcow2 --read-only --run 'nbdinfo $uri'",
    },
    {
      description: 'A new file, on a socket that only its owner can use',
      command: 'truncate -s 10G temp && <%= config.bin %> serve --file temp --socket temp.sock',
    },
    { description: 'A disk of 7 exabytes, in memory', command: '<%= config.bin %> serve --memory 7E' },
    {
      description: 'One partition, only to be read',
      command: '<%= config.bin %> serve a.img --partition /dev/sda1 --read-only',
    },
    {
      description: 'Have qemu-img make a copy without what the guest has deleted',
      command:
        "<%= config.bin %> serve a.img --free-as-holes --run 'qemu-img convert -f raw -O qcow2 -c $uri small.qcow2'",
    },
    {
      description: 'Boot a guest on its disk, which stays as it is',
      command: "<%= config.bin %> serve a.img --cow --run 'qemu-system-x86_64 -m 1G -drive file=$uri,format=raw'",
    },
    {
      description: 'A disk whose reads fail with EIO from "touch /tmp/inject" to "rm /tmp/inject"',
      command: '<%= config.bin %> serve a.img --error-read-file /tmp/inject',
    },
    {
      description: 'Say which files a guest reads as it boots, and sum them up',
      command:
        "<%= config.bin %> serve a.img --cow --trace --trace-summary --run 'qemu-system-x86_64 -m 1G -drive file=$uri,format=raw'",
    },
    {
      description: 'Make one read in a hundred of the files of a database fail',
      command: "<%= config.bin %> serve a.img --error-path '/var/lib/pg/**' --error-read-rate 1%",
    },
    {
      description: 'To other machines, for who has a key alone',
      command: 'psktool -u alice -p keys.psk && <%= config.bin %> serve a.img --bind 0.0.0.0 --tls-psk keys.psk',
    },
  ];
  static override enableJsonFlag = true;
  static override args = {
    image: Args.string({ description: imageDescription, ignoreStdin: true }),
  };

  static override flags = {
    ...sourceFlags,
    ...exportFlags,
    ...imageFlags,
    ...addressFlags,
    ...lifetimeFlags,
    ...layerFlags,
    ...traceFlags,
    ...tlsFlags,
  };

  async run(): Promise<void> {
    const { flags } = this;
    const json = this.jsonEnabled();
    const exports = exportsOf(this.args.image, flags);
    const options: ServeOptions = {
      exports,
      address: addressOf(flags, flags.run !== undefined),
      run: flags.run,
      pidFile: flags['pid-file'],
      logFile: flags.log,
      exitWithParent: flags['exit-with-parent'],
      tls: tlsAsked(flags),
      trace: traceOf(flags, { json, exports }),
    };
    const { status, stats, trace } = await serve(options, this.context, (ready) => {
      this.commandOnTerminal = flags.run !== undefined;
      // The command has our standard output, or whoever listened for us, and knows where.
      if (flags.run !== undefined || (isInherited(options.address) && !json)) return;
      if (json) this.logJson(ready.length === 1 ? ready[0] : { exports: ready });
      for (const { name, size, uri } of json ? [] : ready) {
        const line = `serving ${name} (${formatSize(size)}) at ${uri}\n`;
        (tracesToOutput(options.trace) ? process.stderr : process.stdout).write(line);
      }
    });
    this.status = status;
    if (stats.length > 0) process.stderr.write(viewStats(stats));
    if (!flags['trace-summary']) return;
    if (json && flags.run === undefined) this.logJson(traceSummaryAsJson(trace));
    else process.stderr.write(json ? `${toJson(traceSummaryAsJson(trace))}\n` : viewTraceSummary(trace));
  }
}
