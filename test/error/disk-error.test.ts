import { expect, test } from 'vitest';
import { DiskError, hasCode } from '../../src/error/disk-error.js';

test('keeps the facts of a failure beside its message', () => {
  const cause = new Error('below');
  const error = DiskError.corrupt({ structure: 's', device: 'a.img', offset: 16n, field: 'f', actual: 1 }, cause);
  expect(error).toBeInstanceOf(Error);
  expect(error).toMatchObject({
    name: 'DiskError',
    code: 'CORRUPT',
    message: 's at byte 0x10 of a.img: f is 1',
    cause,
  });
  expect(error.facts).toEqual({ structure: 's', device: 'a.img', offset: 16n, field: 'f', actual: 1 });
});

test('is one document: code and message, then the facts, never the cause', () => {
  const error = new DiskError('IO', 'no room', { errno: 'ENOSPC', offset: 1n, cause: new Error('below') });
  expect(Object.entries(error.toJSON())).toEqual([
    ['code', 'IO'],
    ['message', 'no room'],
    ['errno', 'ENOSPC'],
    ['offset', 1n],
  ]);
});

test('has no cause at all when there is none', () => {
  expect('cause' in new DiskError('IO', 'm')).toBe(false);
  expect(DiskError.cancelled(AbortSignal.abort('why')).cause).toBe('why');
});

test('is recognised by its code, and nothing else is', () => {
  expect(hasCode(new DiskError('BUSY', 'm'), 'IO', 'BUSY')).toBe(true);
  expect(hasCode(new DiskError('BUSY', 'm'), 'IO')).toBe(false);
  expect(hasCode(Object.assign(new Error('m'), { code: 'BUSY' }), 'BUSY')).toBe(false);
});
