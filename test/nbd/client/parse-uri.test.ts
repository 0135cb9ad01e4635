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
])('%s', (uri, target) => {
  expect(parseNbdUri(uri)).toEqual(target);
});

test.each([
  ['nbd+unix:///', 'USAGE', 'names no socket'],
  ['nbd+unix://host/?socket=/tmp/s', 'USAGE', 'has no host'],
  ['nbd://h/%ff', 'USAGE', 'percent-encoded'],
  ['nbd://h:99999/', 'USAGE', 'is no URI'],
  ['nbds://h/', 'UNSUPPORTED', 'TLS'],
  ['nbd+vsock://1/', 'UNSUPPORTED', 'nbd+vsock'],
])('%s is refused in words', (uri, code, words) => {
  expect(() => parseNbdUri(uri)).toThrow(expect.objectContaining({ code, message: expect.stringContaining(words) }));
});
