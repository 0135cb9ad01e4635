import { Flags } from '@oclif/core';
import type { ServeTls } from '../task/serve/tls.js';

/** The flags of a server under TLS. */
export const tlsFlags = {
  tls: Flags.option({
    options: ['off', 'on', 'require'] as const,
    summary: 'offer TLS to clients, or require it: with credentials it is required unless this says otherwise',
  })(),
  'tls-certs': Flags.string({
    summary: 'certificates: a folder with server-cert.pem and server-key.pem',
    helpValue: 'DIR',
  }),
  'tls-psk': Flags.string({
    summary: 'pre-shared keys: a file of lines user:key, as psktool writes it',
    helpValue: 'FILE',
  }),
  'tls-verify-peer': Flags.boolean({
    summary: 'serve only clients with a certificate signed by ca-cert.pem, and not withdrawn in ca-crl.pem',
  }),
};

interface TlsFlags {
  readonly tls?: ServeTls['mode'];
  readonly 'tls-certs'?: string | undefined;
  readonly 'tls-psk'?: string | undefined;
  readonly 'tls-verify-peer': boolean;
}

export function tlsAsked(flags: TlsFlags): ServeTls {
  return {
    mode: flags.tls,
    certificates: flags['tls-certs'],
    psk: flags['tls-psk'],
    verifyPeer: flags['tls-verify-peer'],
  };
}
