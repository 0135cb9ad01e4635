import { webcrypto } from 'node:crypto';

/** Bytes of a digest. */
export const sha256Size = 32;

/** SHA-256 on the thread pool: several at once use several cores. */
export async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await webcrypto.subtle.digest('SHA-256', bytes));
}
