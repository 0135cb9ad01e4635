import { rm } from 'node:fs/promises';
import type { OperationStats } from '../../device/layer/stats.js';
import { DiskError } from '../../error/disk-error.js';
import { exitWithParent } from '../../host/parent.js';
import { PrivateFolder } from '../../host/private-folder.js';
import { standardSocket } from '../../host/standard-socket.js';
import {
  type Address,
  type Export,
  type Inherited,
  isWritable,
  loopback,
  NbdServer,
  type TlsOffer,
} from '../../nbd/index.js';
import { aborted, type TaskContext } from '../context.js';
import { LogFile, withLog } from './log-file.js';
import { type ExportOptions, type OpenExport, openExport } from './open-export.js';
import { writePid } from './pid-file.js';
import { type ServeTls, tlsOffer, uriWithFiles, whyStrangersCome } from './tls.js';
import type { TraceSummary } from './trace/summary.js';
import type { Trace } from './trace/trace.js';
import type { TraceOptions } from './trace/trace-options.js';

/** Bytes: the largest disk that QEMU opens. */
const largestOfQemu = 2n ** 63n - 2n ** 30n;

export interface ServeOptions {
  /** The first is the default export. */
  readonly exports: readonly [ExportOptions, ...ExportOptions[]];
  /** Undefined: a socket of its own, for `run`. `standard`: the one client on our standard input and output. */
  readonly address: Address | Inherited | 'standard' | undefined;
  /** A shell command: serving ends when it does. */
  readonly run?: string | undefined;
  /** Written once clients can connect. */
  readonly pidFile?: string | undefined;
  /** Takes a line for each request's begin and end. */
  readonly logFile?: string | undefined;
  readonly trace?: TraceOptions | undefined;
  readonly tls?: ServeTls | undefined;
  /** Ends when the process ends that started this one. */
  readonly exitWithParent?: boolean | undefined;
}

/** Where the disk can be reached. */
export interface ServeReady {
  readonly uri: string;
  /** Empty: the default export. */
  readonly exportName: string;
  readonly name: string;
  /** Bytes. */
  readonly size: bigint;
  readonly readOnly: boolean;
}

export interface ServeResult {
  /** The command's exit status; 0 without one. */
  readonly status: number;
  /** Of each export that counted, by its name. */
  readonly stats: readonly (readonly [name: string, stats: ReadonlyMap<string, Readonly<OperationStats>>])[];
  /** Of each export whose accesses were traced. */
  readonly trace: readonly TraceSummary[];
}

/**
 * Serves disks over NBD until the signal fires, the command ends or the single client leaves; then answers what has been
 * received, makes everything durable and resolves.
 *
 * @param onReady called with each export once clients can connect; not for a single client, who is there already
 * @throws {DiskError} what opening, listening, starting the command or the last flush throws
 */
export async function serve(
  options: ServeOptions,
  context: TaskContext,
  onReady: (ready: ServeReady[]) => void,
): Promise<ServeResult> {
  if (options.exitWithParent === true) exitWithParent();
  refuseSameNames(options.exports);
  const tls = await tlsOffer(options.tls ?? {}, context);
  const log = options.logFile === undefined ? undefined : new LogFile(options.logFile);
  const opened: OpenExport[] = [];
  const trace = options.trace && (await openTrace(options.trace, context));
  try {
    for (const wanted of options.exports) {
      const logged = withLog(wanted, log, prefixOf(wanted, options));
      const watched = trace === undefined ? logged : trace.watching(logged, options.exports.length);
      opened.push(await openExport(watched, context));
    }
    const status = await serveOpened(opened, tls, options, context, onReady);
    const summaries = await trace?.finish(opened);
    for (const { flush } of opened) await flush();
    const stats = opened.flatMap(({ exported, stats }) =>
      stats === undefined ? [] : [[exported.name, stats.stats] as const],
    );
    return { status, stats, trace: summaries ?? [] };
  } finally {
    for (const { close } of opened.toReversed()) await close();
    await trace?.close();
    log?.close();
  }
}

async function serveOpened(
  opened: readonly OpenExport[],
  tls: TlsOffer | undefined,
  { address: wanted, run, pidFile, exports: [first], tls: asked = {} }: ServeOptions,
  context: TaskContext,
  onReady: (ready: ServeReady[]) => void,
): Promise<number> {
  // What starts programs takes longer to load than all that serves.
  const beside = run === undefined ? undefined : await import('./run-beside.js');
  await using privately = wanted === undefined ? await PrivateFolder.create() : undefined;
  const address = wanted ?? { socketPath: privately?.path('socket') ?? '' };
  const exports = opened.map(({ exported }) => exported);
  const server = await startServer(address, exports, tls, context);
  try {
    if (pidFile !== undefined) await writePid(pidFile);
    if (address === 'standard') {
      await Promise.race([server.clientsGone(), aborted(context.signal)]);
      return 0;
    }
    onReady(
      exports.map((exported) => ({
        uri: server.uriOf(exported.name),
        exportName: exported.name,
        name: exported.description,
        size: exported.device.facts.size,
        readOnly: !isWritable(exported),
      })),
    );
    if (run !== undefined && beside !== undefined) {
      warnOfQemu(run, opened[0]?.exported.device.facts.size ?? 0n, context);
      const uri = uriWithFiles(server.uriOf(first.name), asked, tls);
      return await beside.runBeside(run, server.address, uri, first.name, context);
    }
    await aborted(context.signal);
    return 0;
  } finally {
    // Who waits for the tracer could not hear that the end has come.
    for (const { requests } of exports) requests?.letGo();
    await server.close();
    if (pidFile !== undefined) await rm(pidFile, { force: true });
  }
}

/** Starts to serve; `standard`: the client that started us, and nobody else. */
async function startServer(
  address: Address | Inherited | 'standard',
  exports: readonly Export[],
  tls: TlsOffer | undefined,
  context: TaskContext,
): Promise<NbdServer> {
  if (address === 'standard') return NbdServer.over(standardSocket(), exports, { tls });
  warnOfStrangers(address, tls, context);
  return await NbdServer.listen(exports, address, { tls });
}

function refuseSameNames(exports: readonly ExportOptions[]): void {
  const names = new Set<string>();
  for (const { name } of exports) {
    if (Buffer.byteLength(name) > 4096) throw new DiskError('USAGE', 'the name of an export has at most 4096 bytes');
    if (names.has(name)) throw new DiskError('USAGE', `two exports are named "${name}": give each a name of its own`);
    names.add(name);
  }
}

/** Lines of several exports are told apart by the export's name. */
function prefixOf({ name }: ExportOptions, { exports }: ServeOptions): string {
  return exports.length === 1 ? '' : `${JSON.stringify(name)} `;
}

async function openTrace(options: TraceOptions, context: TaskContext): Promise<Trace> {
  const { Trace } = await import('./trace/trace.js');
  return await Trace.open(options, context);
}

/** Without TLS nothing keeps other machines' users out but the network. */
function warnOfStrangers(address: Address | Inherited, tls: TlsOffer | undefined, { onWarning }: TaskContext): void {
  if (!('host' in address)) return;
  const { host } = address;
  if (host === loopback || host === '::1' || /^127\./.test(host)) return;
  const why = whyStrangersCome(tls);
  if (why !== undefined) onWarning?.(`whoever reaches ${host} can use the disk: ${why}`);
}

function warnOfQemu(command: string, size: bigint, { onWarning }: TaskContext): void {
  if (size <= largestOfQemu || !command.includes('qemu')) return;
  onWarning?.(`QEMU opens at most ${largestOfQemu} bytes, and the disk has ${size}: serve a part of it with --range`);
}
