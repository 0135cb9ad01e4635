import { expect, test } from 'vitest';
import { printable } from '../../src/cli/printable.js';
import { table } from '../../src/cli/table.js';

test('aligns columns, text to the left and numbers to the right, without trailing spaces', () => {
  const rows = [
    { name: '/dev/sda1', size: '8' },
    { name: 'é', size: '1024' },
  ];
  const text = table(rows, [
    { heading: 'device', cell: ({ name }) => name },
    { heading: 'size', align: 'right', cell: ({ size }) => size },
    { heading: '', cell: () => '' },
  ]);
  expect(text).toBe(['device     size', '/dev/sda1     8', 'é          1024'].join('\n'));
});

test('writes control characters of a label as escapes, so that it cannot drive the terminal', () => {
  expect(printable('a\u001b[31mb\nc\u202ed\u0085')).toBe('a\\x1b[31mb\\x0ac\\u202ed\\u0085');
  expect(table([{ label: 'x\u001b]0;y\u0007' }], [{ heading: 'label', cell: ({ label }) => label }])).not.toContain(
    '\u001b',
  );
});

test('leaves letters of every script alone', () => {
  expect(printable('Größe 磁盘 диск 🖴')).toBe('Größe 磁盘 диск 🖴');
});
