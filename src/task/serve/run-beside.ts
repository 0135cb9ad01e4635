import { DiskError } from '../../error/disk-error.js';
import { startShell } from '../../host/shell.js';
import type { Address } from '../../nbd/index.js';
import { endShell, signalOf, statusOf } from '../command-end.js';
import type { TaskContext } from '../context.js';

/**
 * Runs a shell command that uses an export, as {@link runShell}. It learns where from `$uri`, `$nbd` (the older form that
 * QEMU knows), `$unixsocket` or `$port`, and `$exportname`, as from nbdkit.
 */
export function runBeside(
  command: string,
  address: Address,
  uri: string,
  exportName: string,
  context: TaskContext,
): Promise<number> {
  return runShell(command, environment(address, uri, exportName), context);
}

/**
 * Runs a shell command to its end.
 *
 * When the signal fires, the command and all that it has started get it too, and the end is awaited of them all: some
 * flush what they have through the export. When a signal ends the shell alone, what it leaves is ended. When it ends in
 * order, its background processes are its own affair.
 *
 * @returns its exit status; 128 + n when signal n ended it
 * @throws {DiskError} when it cannot be started; CANCELLED when the signal has fired before
 */
export async function runShell(
  command: string,
  environment: Readonly<Record<string, string>>,
  { signal, onWarning }: TaskContext,
): Promise<number> {
  if (signal?.aborted) throw DiskError.cancelled(signal);
  const shell = startShell(command, environment);
  let ending: ReturnType<typeof endShell> | undefined;
  const stop = () => {
    ending ??= endShell(shell, signalOf(signal));
  };
  signal?.addEventListener('abort', stop, { once: true });
  try {
    const ended = await shell.ended;
    if (ended.signal !== undefined) ending ??= endShell(shell, 'SIGTERM');
    for (const { pid, name } of (await ending) ?? []) onWarning?.(`process ${pid} (${name}) of the command goes on`);
    return statusOf(ended);
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

function environment(address: Address, uri: string, exportName: string): Record<string, string> {
  const suffix = exportName === '' ? '' : `:exportname=${exportName}`;
  const where =
    'socketPath' in address
      ? { unixsocket: address.socketPath, port: '', nbd: `nbd:unix:${address.socketPath}${suffix}` }
      : { unixsocket: '', port: String(address.port), nbd: `nbd:${address.host}:${address.port}${suffix}` };
  return { ...where, uri, exportname: exportName };
}
