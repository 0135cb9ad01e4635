import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base-command.js';
import { forceShare, sizeFlag } from '../src/cli/flags.js';
import { formatSize } from '../src/cli/quantities.js';
import { DiskError } from '../src/error/disk-error.js';
import { type Address, defaultPort, loopback } from '../src/nbd/index.js';
import { type ServeSource, serve } from '../src/task/serve.js';

export default class Serve extends BaseCommand<typeof Serve> {
  static override summary = 'serve a disk over NBD';
  static override description =
    `Serves until SIGINT or SIGTERM; then answers what it has received, makes it durable and exits with status 0. One line says where, once clients can connect; with --json, one document.

Nobody else can write to the image while it is served. Room that clients trim or zero is given back to the host.`;
  static override examples = [
    {
      description: 'Serve an image on this machine, port 10809, and look at it',
      command: '<%= config.bin %> serve a.img &\nnbdinfo nbd://localhost',
    },
    {
      description: 'A new file, on a socket that only its owner can use',
      command: 'truncate -s 10G temp\n<%= config.bin %> serve --file temp --socket temp.sock',
    },
    { description: 'A disk of 7 exabytes', command: '<%= config.bin %> serve --memory 7E' },
    {
      description: 'One partition, only to be read',
      command: '<%= config.bin %> serve a.img --partition /dev/sda1 --read-only',
    },
  ];
  static override enableJsonFlag = true;
  static override args = {
    image: Args.string({ description: 'the disk image: a file or a block device', ignoreStdin: true }),
  };

  static override flags = {
    file: Flags.string({
      summary: 'serve the bytes of a file, whatever format they seem to have',
      helpValue: 'PATH',
      exclusive: ['memory'],
    }),
    memory: sizeFlag({ summary: 'serve a disk of zeros in memory, that takes room for what is written' }),
    socket: Flags.string({
      summary: 'listen on a unix socket, which only its owner can use',
      helpValue: 'PATH',
      exclusive: ['port', 'bind'],
    }),
    port: Flags.integer({
      char: 'p',
      summary: 'listen on a TCP port; 0: on any free one',
      min: 0,
      max: 65_535,
      default: async ({ flags }) => (flags.socket === undefined ? defaultPort : undefined),
      defaultHelp: async () => String(defaultPort),
    }),
    bind: Flags.string({
      char: 'b',
      summary: 'listen on this address, instead of on this machine alone',
      helpValue: 'ADDRESS',
    }),
    'read-only': Flags.boolean({ char: 'r', summary: 'refuse writes' }),
    'export-name': Flags.string({ char: 'x', summary: 'name the export', helpValue: 'NAME', default: '' }),
    partition: Flags.string({ summary: 'serve one partition of the disk: /dev/sda1', helpValue: 'DEVICE' }),
    force: Flags.boolean({ char: 'f', summary: 'serve for writing although somebody else reads the image' }),
    'force-share': forceShare,
  };

  async run(): Promise<void> {
    const { flags } = this;
    if (flags['force-share'] && !flags['read-only']) {
      throw new DiskError('USAGE', '--force-share goes with --read-only: two writers destroy a disk');
    }
    const options = {
      source: this.#source(),
      address: this.#address(),
      readOnly: flags['read-only'],
      exportName: flags['export-name'],
      partition: flags.partition,
      force: flags.force,
      forceShare: flags['force-share'],
    };
    await serve(options, this.context, (ready) => {
      if (this.jsonEnabled()) this.logJson(ready);
      else this.log(`serving ${ready.name} (${formatSize(ready.size)}) at ${ready.uri}`);
    });
  }

  #source(): ServeSource {
    const { image } = this.args;
    const { file, memory } = this.flags;
    if ([image, file, memory].filter((source) => source !== undefined).length !== 1) {
      throw new DiskError('USAGE', 'name one thing to serve: IMAGE, --file PATH or --memory SIZE');
    }
    if (image !== undefined) return { image };
    return file === undefined ? { memory: memory ?? 0n } : { file };
  }

  #address(): Address {
    const { socket, port, bind } = this.flags;
    return socket === undefined ? { host: bind ?? loopback, port: port ?? defaultPort } : { socketPath: socket };
  }
}
