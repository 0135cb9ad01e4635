import { expect, test } from 'vitest';
import { exportUri } from '../../src/nbd/uri.js';

// The forms: NBD doc/uri.md.
test.each([
  [{ host: 'localhost', port: 10809 }, '', 'nbd://localhost:10809/'],
  [{ host: '::1', port: 1 }, 'a b', 'nbd://[::1]:1/a%20b'],
  [{ socketPath: '/run/a b?.sock' }, 'x/y#', 'nbd+unix:///x/y%23?socket=/run/a%20b%3F.sock'],
])('writes %o with the name "%s" as %s', (address, name, uri) => {
  expect(exportUri(address, name)).toBe(uri);
});

test.each([
  [{ host: 'localhost', port: 10809 }, 'nbds://localhost:10809/x'],
  [{ socketPath: '/run/s' }, 'nbds+unix:///x?socket=/run/s'],
])('writes %o that insists on TLS as %s', (address, uri) => {
  expect(exportUri(address, 'x', true)).toBe(uri);
});
