import { Errors } from '@oclif/core';
import { expect, test } from 'vitest';
import { explain } from '../../src/cli/failure.js';
import { DiskError } from '../../src/error/disk-error.js';

test('gives wrong usage status 2 and any other failure status 1', () => {
  expect(explain(new DiskError('USAGE', 'x')).status).toBe(2);
  expect(explain(new DiskError('BUSY', 'x')).status).toBe(1);
});

test('tells a program the code and every fact', () => {
  const error = DiskError.corrupt({
    device: 'a.img',
    structure: 'ext4 superblock',
    offset: 1024n,
    field: 's_log_block_size',
    actual: 40,
    expected: '0 to 6',
  });
  expect(explain(error).document).toEqual({
    code: 'CORRUPT',
    message: 'ext4 superblock at byte 0x400 of a.img: s_log_block_size is 40, expected 0 to 6',
    device: 'a.img',
    structure: 'ext4 superblock',
    offset: 1024n,
    field: 's_log_block_size',
    actual: 40,
    expected: '0 to 6',
  });
});

test("calls oclif's own errors wrong usage, on one line", () => {
  const { message, status } = explain(new Errors.CLIError('Nonexistent flag: --x\nSee more help with --help'));
  expect(message).toBe('nonexistent flag: --x');
  expect(status).toBe(2);
});

test('names the arguments that are missing, without what they mean and advice on flags', () => {
  const list = 'device  the partition,\n        or volume\npath    the file';
  const { message } = explain(
    new Errors.CLIError(
      `Missing 2 required args:\n${list}\n\nNote: --zero allows multiple values.\nAlternatively, "--"\nSee more help with --help`,
    ),
  );
  expect(message).toBe('DEVICE and PATH missing');
});

test('names flags that do not go together, without their values', () => {
  const one = '--dry-run=true cannot also be provided when using --undo';
  const said = (list: string) =>
    explain(new Errors.CLIError(`The following error occurred:\n  ${list}\nSee more help with --help`)).message;
  expect(said(one)).toBe('--undo and --dry-run do not go together');
  expect(said(`\u001b[2m${one}\n  --output=a b cannot also be provided when using --undo\u001b[22m`)).toBe(
    '--undo and --dry-run do not go together; --undo and --output do not go together',
  );
});

test('names the file of a system error', () => {
  const error = Object.assign(new Error("ENOENT: no such file or directory, open 'x'"), { code: 'ENOENT', path: 'x' });
  expect(explain(error).message).toBe('x: no such file or directory (ENOENT)');
});

test('calls anything else a bug and keeps its stack for --verbose', () => {
  const { message, causes } = explain(new TypeError('undefined is not a function'));
  expect(message).toMatch(/^internal error: undefined is not a function: this is a bug/);
  expect(causes[0]).toContain('TypeError');
});
