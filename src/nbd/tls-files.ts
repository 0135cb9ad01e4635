import { DiskError } from '../error/disk-error.js';

/** The files of a folder of certificates, as nbdkit, QEMU and libnbd name them. All are PEM. */
export const certificateNames = {
  ca: 'ca-cert.pem',
  serverCert: 'server-cert.pem',
  serverKey: 'server-key.pem',
  clientCert: 'client-cert.pem',
  clientKey: 'client-key.pem',
} as const;

/** Bytes: half of what OpenSSL takes, and far more than any key has. */
const longestKey = 256;

/**
 * The users of a file of pre-shared keys and their keys, in the file's order: a line is `user:key`, the key in
 * hexadecimal.
 *
 * @throws {DiskError} USAGE, naming the line, never the key
 * @see psktool(1)
 */
export function parsePskFile(text: string): Map<string, Buffer> {
  const keys = new Map<string, Buffer>();
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const user = line.slice(0, Math.max(0, colon));
    const key = line.slice(colon + 1);
    const wrong = (what: string) => new DiskError('USAGE', `line ${index + 1}: ${what}, expected user:key`);
    if (user === '') throw wrong('names no user');
    if (!/^([0-9a-f]{2})+$/i.test(key)) throw wrong('the key is not hexadecimal bytes');
    if (key.length > 2 * longestKey) throw wrong(`the key is longer than ${longestKey} bytes`);
    if (keys.has(user)) throw wrong('this user has a key already');
    keys.set(user, Buffer.from(key, 'hex'));
  }
  return keys;
}
