import { expect, test } from 'vitest';
import { parseNbdUri } from '../../../src/nbd/client/parse-uri.js';

test.each([
  ['nbd://localhost', { at: { host: 'localhost', port: 10809 }, exportName: '' }],
  ['nbd://localhost/', { at: { host: 'localhost', port: 10809 }, exportName: '' }],
  ['nbd://10.0.0.1:1234/disk', { at: { host: '10.0.0.1', port: 1234 }, exportName: 'disk' }],
  ['nbd://[::1]:1234//a/b', { at: { host: '::1', port: 1234 }, exportName: '/a/b' }],
  ['nbd:///x', { at: { host: 'localhost', port: 10809 }, exportName: 'x' }],
  ['NBD://h/%C3%A4%20b', { at: { host: 'h', port: 10809 }, exportName: 'ä b' }],
  ['nbd+unix:///?socket=/tmp/s', { at: { path: '/tmp/s' }, exportName: '' }],
  ['nbd+unix:///a%2Fb?socket=%2Ftmp%2Fx%20y', { at: { path: '/tmp/x y' }, exportName: 'a/b' }],
  ['nbds://h', { at: { host: 'h', port: 10809 }, exportName: '', tls: { type: 'x509', verifyPeer: true } }],
  [
    'nbds://al%20ice@h:1/d?tls-psk-file=/k',
    {
      at: { host: 'h', port: 1 },
      exportName: 'd',
      tls: { type: 'psk', pskFile: '/k', user: 'al ice', verifyPeer: true },
    },
  ],
  [
    'nbds+unix://bob@/?socket=/s&tls-certificates=/c&tls-hostname=x&tls-verify-peer=0',
    {
      at: { path: '/s' },
      exportName: '',
      tls: { type: 'x509', certificates: '/c', user: 'bob', hostname: 'x', verifyPeer: false },
    },
  ],
])('%s', (uri, target) => {
  expect(parseNbdUri(uri)).toEqual(target);
});

test.each([
  ['nbd+unix:///', 'USAGE', 'names no socket'],
  ['nbd+unix://host/?socket=/tmp/s', 'USAGE', 'has no host'],
  ['nbd://h/%ff', 'USAGE', 'percent-encoded'],
  ['nbd://h:99999/', 'USAGE', 'is no URI'],
  ['nbd://h/?socket=/tmp/s', 'USAGE', 'nbd+unix:///'],
  ['nbd://h/?tls-psk-file=/k', 'USAGE', 'nbds://'],
  ['nbds://h/?tls-type=anon', 'UNSUPPORTED', 'proves nothing'],
  ['nbds://h/?tls-type=ssl', 'USAGE', 'expected x509 or psk'],
  ['nbds://h/?tls-type=psk', 'USAGE', 'names no file of keys'],
  ['nbds://h/?tls-verify-peer=no', 'USAGE', 'expected 0 or 1'],
  ['nbds://h/?tls-verify=0', 'USAGE', '"tls-verify" is no parameter'],
  ['nbd+vsock://1/', 'UNSUPPORTED', 'nbd+vsock'],
])('%s is refused in words', (uri, code, words) => {
  expect(() => parseNbdUri(uri)).toThrow(expect.objectContaining({ code, message: expect.stringContaining(words) }));
});
