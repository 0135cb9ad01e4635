import { startShell } from '../../host/process.js';
import type { Address } from '../../nbd/index.js';
import { endCommand, signalOf, statusOf } from '../command-end.js';
import type { TaskContext } from '../context.js';

/**
 * Runs a shell command that uses an export, to its end. It learns where from `$uri`, `$nbd` (the older form that QEMU
 * knows), `$unixsocket` or `$port`, and `$exportname`, as from nbdkit. When the signal fires the command gets it too.
 *
 * @returns its exit status; 128 + n when signal n ended it
 * @throws {DiskError} when it cannot be started
 */
export async function runBeside(
  command: string,
  address: Address,
  uri: string,
  exportName: string,
  { signal }: TaskContext,
): Promise<number> {
  const child = startShell(command, environment(address, uri, exportName));
  const stop = () => void endCommand(child, signalOf(signal));
  if (signal?.aborted) stop();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return statusOf(await child.ended);
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
