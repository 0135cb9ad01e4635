import { Flags } from '@oclif/core';
import { DiskError } from '../error/disk-error.js';
import { defaultPort, type Inherited, loopback } from '../nbd/index.js';
import type { ServeSource } from '../task/serve/open-export.js';
import type { ServeOptions } from '../task/serve/serve.js';
import { sizeFlag } from './flags.js';

/** The flags that say what is served, where, and for how long, and what they say. */

export const sourceFlags = {
  file: Flags.string({
    summary: 'serve the bytes of a file, whatever format they seem to have',
    helpValue: 'PATH',
    exclusive: ['memory', 'format', 'snapshot'],
  }),
  memory: sizeFlag({
    summary: 'serve a disk of zeros in memory, that takes room for what is written',
    exclusive: ['format', 'snapshot'],
  }),
  export: Flags.string({
    summary: 'serve another image under a name of its own; may be repeated',
    helpValue: 'NAME=IMAGE',
    multiple: true,
    multipleNonGreedy: true,
  }),
};

export const addressFlags = {
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
    helpValue: 'PORT',
    defaultHelp: async () => String(defaultPort),
  }),
  bind: Flags.string({
    char: 'b',
    summary: 'listen on this address, instead of on this machine alone',
    helpValue: 'ADDRESS',
  }),
  single: Flags.boolean({
    char: 's',
    summary: 'serve one client on standard input and output, until it leaves',
    description: 'For programs that start their server on a connection: inetd, ssh, libnbd.',
    exclusive: ['socket', 'port', 'bind', 'run', 'json'],
  }),
};

/** How long we serve, and who else is to know. */
export const lifetimeFlags = {
  run: Flags.string({
    summary: 'serve a shell command on a socket of its own, until it ends',
    description:
      'It finds the export by $uri, $nbd, $unixsocket (or $port) and $exportname; its status is ours. A signal to us reaches all that it has started, and the disk is served until they have ended: for 10 seconds, then they are killed. What is in a session of its own (setsid, daemons) is left alone. Ctrl-C in a terminal is for the command to answer.',
    helpValue: 'COMMAND',
  }),
  'pid-file': Flags.string({
    char: 'P',
    summary: 'write the process id here once clients can connect',
    helpValue: 'PATH',
  }),
  'exit-with-parent': Flags.boolean({ summary: 'end when the process ends that started this one' }),
};

export interface NamedSource {
  readonly name: string;
  readonly source: ServeSource;
}

/** What is served, the default export first. @throws {DiskError} USAGE */
export function sourcesOf(
  image: string | undefined,
  flags: {
    readonly file?: string | undefined;
    readonly memory?: bigint | undefined;
    readonly export?: readonly string[] | undefined;
    readonly 'export-name'?: string | undefined;
  },
): [NamedSource, ...NamedSource[]] {
  const sources: ServeSource[] = [];
  if (image !== undefined) sources.push({ image });
  if (flags.file !== undefined) sources.push({ file: flags.file });
  if (flags.memory !== undefined) sources.push({ memory: flags.memory });
  if (sources.length > 1) throw new DiskError('USAGE', 'name one of IMAGE, --file PATH and --memory SIZE');
  const named = (flags.export ?? []).map(namedImage);
  const unnamed = sources.map((source) => ({ name: flags['export-name'] ?? '', source }));
  const [first, ...others] = [...unnamed, ...named];
  if (first === undefined) {
    throw new DiskError('USAGE', 'name what to serve: IMAGE, --file PATH, --memory SIZE or --export NAME=IMAGE');
  }
  return [first, ...others];
}

function namedImage(text: string): NamedSource {
  const [, name = '', image = ''] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  if (name !== '') return { name, source: { image } };
  throw new DiskError('USAGE', `"${text}" names no export: write it like NAME=IMAGE`);
}

/** The first descriptor that systemd passes on: sd_listen_fds(3). */
const firstInherited = 3;

/** Where to find clients; undefined: on a private socket, for the command that is run. @throws {DiskError} USAGE */
export function addressOf(
  flags: {
    readonly socket?: string | undefined;
    readonly port?: number | undefined;
    readonly bind?: string | undefined;
    readonly single: boolean;
  },
  runs: boolean,
): ServeOptions['address'] {
  const { socket, port, bind, single } = flags;
  const named = socket !== undefined || port !== undefined || bind !== undefined;
  const inherited = takeInherited();
  if (inherited !== undefined) {
    if (named || single) {
      const those = '--socket, --port, --bind and --single';
      throw new DiskError('USAGE', `sockets were passed to us: ${those} do not go with them`);
    }
    return inherited;
  }
  if (single) return 'standard';
  if (socket !== undefined) return { socketPath: socket };
  if (runs && !named) return undefined;
  return { host: bind ?? loopback, port: port ?? defaultPort };
}

/** Whether whoever started us listened first, and knows where. */
export function isInherited(address: ServeOptions['address']): boolean {
  return typeof address === 'object' && 'descriptors' in address;
}

/** What systemd, or whoever speaks as it does, has opened for us. Asked once: our children must not take it for theirs. */
function takeInherited(): Inherited | undefined {
  const { LISTEN_PID, LISTEN_FDS } = process.env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete process.env[name];
  const count = Number(LISTEN_FDS);
  if (Number(LISTEN_PID) !== process.pid || !Number.isInteger(count) || count < 1) return undefined;
  return { descriptors: Array.from({ length: count }, (_, i) => firstInherited + i) };
}
