import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DiskError, hasCode } from '../../error/disk-error.js';
import { wrapSystemError } from '../../host/errno.js';

/** A file of certificates: a server's own first, then those that lead to its authority. */
export async function readCertificate(path: string): Promise<{ text: string; first: X509Certificate }> {
  const text = await readText(path);
  if (!text.includes('-----BEGIN CERTIFICATE-----')) throw new DiskError('USAGE', `${path}: holds no PEM certificate`);
  try {
    return { text, first: new X509Certificate(text) };
  } catch (error) {
    throw new DiskError('USAGE', `${path}: the certificate is damaged`, { cause: error });
  }
}

/** A certificate and its private key, both PEM. Warns when it is not the time of the certificate. */
export async function readKeyPair(
  folder: string,
  certName: string,
  keyName: string,
  onWarning: ((message: string) => void) | undefined,
): Promise<{ cert: string; key: string }> {
  const [certPath, keyPath] = [join(folder, certName), join(folder, keyName)];
  const cert = await readCertificate(certPath);
  const key = await readPrivateKey(keyPath, onWarning);
  if (!cert.first.checkPrivateKey(key.object))
    throw new DiskError('USAGE', `${keyPath}: is not the key of ${certName}`);
  const untimely = whyUntimely(cert.first, Date.now());
  if (untimely !== undefined) onWarning?.(`${certPath}: ${untimely}: who verifies it turns away`);
  return { cert: cert.text, key: key.text };
}

/** @param now milliseconds of Unix time */
function whyUntimely({ validFrom, validTo }: X509Certificate, now: number): string | undefined {
  const [start, end] = [new Date(validFrom), new Date(validTo)];
  if (now < start.getTime()) return `is not valid before ${start.toISOString()}`;
  return now > end.getTime() ? `expired at ${end.toISOString()}` : undefined;
}

async function readPrivateKey(
  path: string,
  onWarning: ((message: string) => void) | undefined,
): Promise<{ text: string; object: KeyObject }> {
  const text = await readSecret(path, onWarning);
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    throw new DiskError('USAGE', `${path}: holds no PEM private key`);
  }
  if (/BEGIN ENCRYPTED|^Proc-Type: 4,ENCRYPTED/m.test(text)) {
    throw new DiskError('USAGE', `${path}: is locked with a password: write it without: openssl pkey -in ${path}`);
  }
  try {
    return { text, object: createPrivateKey(text) };
  } catch (error) {
    throw new DiskError('USAGE', `${path}: the private key is damaged`, { cause: error });
  }
}

/** A file that nobody else should read: warns when everybody can. */
export async function readSecret(path: string, onWarning: ((message: string) => void) | undefined): Promise<string> {
  const text = await readText(path);
  const { mode } = await stat(path);
  if ((mode & 0o004) !== 0) onWarning?.(`${path}: everybody on this machine can read the secret: chmod 600 ${path}`);
  return text;
}

/** Certificates that their authority has withdrawn; undefined where there is no such file. */
export async function readRevocations(path: string): Promise<string | undefined> {
  let text: string;
  try {
    text = await readText(path);
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
  // OpenSSL would take an empty file for one that withdraws nothing.
  if (!text.includes('-----BEGIN X509 CRL-----')) throw new DiskError('USAGE', `${path}: holds no PEM revocation list`);
  return text;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw wrapSystemError(`read ${path}`, error);
  }
}
