import { DiskError } from '../../error/disk-error.js';
import { parsePskFile } from '../tls-files.js';
import { readSecret } from './pem.js';

/**
 * TLS 1.3 first. Before it, what keeps old recordings closed when a key becomes known (ECDHE and DHE); never plain PSK.
 * A key from outside TLS goes with SHA-256 in TLS 1.3 (RFC 8446, section 4.2.11).
 */
export const pskCiphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-PSK-CHACHA20-POLY1305',
  'DHE-PSK-AES256-GCM-SHA384',
  'DHE-PSK-CHACHA20-POLY1305',
  'DHE-PSK-AES128-GCM-SHA256',
].join(':');

/**
 * Pre-shared keys by their users, from a file as psktool writes it.
 *
 * @throws {DiskError} NOT_FOUND when it is missing; USAGE when it is not such a file, or holds no key
 */
export async function readPskFile(
  path: string,
  onWarning: ((message: string) => void) | undefined,
): Promise<ReadonlyMap<string, Buffer>> {
  const text = await readSecret(path, onWarning);
  try {
    const keys = parsePskFile(text);
    if (keys.size > 0) return keys;
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    throw new DiskError('USAGE', `${path}: ${error.message}`, { cause: error });
  }
  throw new DiskError('USAGE', `${path}: holds no key: make one: psktool -u USER -p ${path}`);
}
