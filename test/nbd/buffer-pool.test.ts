import { expect, test } from 'vitest';
import { BufferPool, joined } from '../../src/nbd/buffer-pool.js';

test('never leases the same bytes twice at a time, whatever is released in between', () => {
  const pool = new BufferPool();
  const held = new Map<ReturnType<BufferPool['take']>, number>();
  for (let i = 0; i < 3000; i++) {
    const lease = pool.take(((i * 7919) % 70_000) + 1);
    lease.bytes.fill(i % 251);
    held.set(lease, i % 251);
    if (i % 3 === 0) continue;
    const oldest = [...held.keys()][(i * 31) % held.size];
    if (oldest === undefined) continue;
    const value = held.get(oldest) ?? -1;
    expect(oldest.bytes.every((byte) => byte === value)).toBe(true);
    held.delete(oldest);
    oldest.release();
    if (held.size > 100) for (const [lease] of [...held].slice(0, 50)) if (held.delete(lease)) lease.release();
  }
  for (const [lease, value] of held) expect(lease.bytes.every((byte) => byte === value)).toBe(true);
});

test('small leases in a row join, others do not', () => {
  const pool = new BufferPool();
  const [first, second, third] = [pool.take(10), pool.take(20), pool.take(30)];
  expect(joined(first.bytes, second.bytes)?.length).toBe(30);
  expect(joined(first.bytes, third.bytes)).toBeUndefined();
});

test('replies to writes in a row join, whatever payloads are leased between them', () => {
  const pool = new BufferPool();
  const replies = Array.from({ length: 8 }, () => {
    pool.take(4096);
    return pool.take(16).bytes;
  });
  const all = replies.reduce((before, next) => joined(before, next) ?? Buffer.alloc(0));
  expect(all.length).toBe(8 * 16);
});
