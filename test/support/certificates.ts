import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './run.js';
import { temporaryFolder } from './temporary.js';

/** A folder of one authority, a server (for localhost) and a client, with the file names that NBD programs expect. */
export async function makeCertificates(folder: string): Promise<void> {
  const openssl = (...args: string[]) => run('openssl', args, { cwd: folder, stderr: 'pipe' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await openssl('req', '-x509', ...newKey, '-keyout', 'ca-key.pem', '-out', 'ca-cert.pem', '-subj', '/CN=ca');
  await writeFile(join(folder, 'ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  for (const [serial, who] of ['server', 'client'].entries()) {
    await openssl('req', ...newKey, '-keyout', `${who}-key.pem`, '-out', `${who}.csr`, '-subj', `/CN=${who}`);
    const authority = ['-CA', 'ca-cert.pem', '-CAkey', 'ca-key.pem', '-set_serial', String(serial + 1)];
    await openssl('x509', '-req', '-in', `${who}.csr`, ...authority, '-extfile', 'ext', '-out', `${who}-cert.pem`);
  }
}

/** Signs the server's key anew, for a time that OpenSSL writes like 20250101000000Z. */
export async function renewServer(folder: string, start: string, end: string): Promise<void> {
  await writeFile(join(folder, 'issued'), '');
  const own =
    'database=issued\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n';
  await writeFile(join(folder, 'config'), `[ca]\ndefault_ca=own\n[own]\n${own}`);
  const authority = ['-keyfile', 'ca-key.pem', '-cert', 'ca-cert.pem', '-extfile', 'ext', '-batch', '-notext'];
  const what = ['-startdate', start, '-enddate', end, '-in', 'server.csr', '-out', 'server-cert.pem'];
  await run('openssl', ['ca', '-config', 'config', ...authority, ...what], { cwd: folder, stderr: 'pipe' });
}

/** Withdraws the client's certificate in `ca-crl.pem`. */
export async function revokeClient(folder: string): Promise<void> {
  await writeFile(join(folder, 'index'), 'R\t350101000000Z\t250101000000Z\t02\tunknown\t/CN=client\n');
  await writeFile(join(folder, 'index.attr'), '');
  await writeFile(join(folder, 'config'), '[ca]\ndefault_ca=own\n[own]\ndatabase=index\ndefault_md=sha256\n');
  const authority = ['-keyfile', 'ca-key.pem', '-cert', 'ca-cert.pem', '-crldays', '2'];
  await run('openssl', ['ca', '-gencrl', '-config', 'config', ...authority, '-out', 'ca-crl.pem'], { cwd: folder });
}

/**
 * Folders of certificates for a server and three clients, who all believe in the server: `known` is of its authority,
 * `stranger` of another, `nobody` has no certificate.
 */
export async function certificateFolders() {
  const folder = await temporaryFolder();
  const [known, stranger, nobody] = [join(folder, 'known'), join(folder, 'stranger'), join(folder, 'nobody')];
  for (const path of [known, stranger, nobody]) await mkdir(path);
  await makeCertificates(known);
  await makeCertificates(stranger);
  const authority = await readFile(join(known, 'ca-cert.pem'));
  for (const path of [stranger, nobody]) await writeFile(join(path, 'ca-cert.pem'), authority);
  return { folder, known, stranger, nobody };
}
