import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LoadingCache } from '../../../src/image/qcow2/loading-cache.js';

const kib = (key: number) => ({ key, byteLength: 1024 });

test('keeps as many bytes as it may, and lets go of what was longest not asked for', async () => {
  const cache = new LoadingCache<{ key: number; byteLength: number }>({ limit: 3 * 1024, parallel: 1 });
  for (const key of [1, 2, 3]) await cache.load(key, async () => kib(key));
  expect(cache.known(1)?.key).toBe(1);
  await cache.load(4, async () => kib(4));
  expect([1, 2, 3, 4].map((key) => cache.known(key)?.key)).toEqual([1, undefined, 3, 4]);
  // A value larger than all is kept until the next one comes.
  await cache.load(5, async () => ({ key: 5, byteLength: 10_000 }));
  expect([1, 3, 4, 5].map((key) => cache.known(key)?.key)).toEqual([undefined, undefined, undefined, 5]);
  await cache.load(6, async () => kib(6));
  expect([5, 6].map((key) => cache.known(key)?.key)).toEqual([undefined, 6]);
});

test('loads a value once for all who wait, and again when that failed', async () => {
  const cache = new LoadingCache<{ key: number; byteLength: number }>({ limit: 1 << 20, parallel: 2 });
  let loads = 0;
  const failing = async () => {
    loads++;
    throw new Error('not there');
  };
  const results = await Promise.allSettled([cache.load(7, failing), cache.load(7, failing)]);
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(loads).toBe(1);
  expect((await cache.load(7, async () => kib(7))).key).toBe(7);
});

test('never loads more at a time than it may, whatever fails, and leaves nobody waiting', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ key: fc.nat(20), fails: fc.boolean(), turns: fc.nat(4) }), { maxLength: 60 }),
      fc.integer({ min: 1, max: 4 }),
      async (requests, parallel) => {
        const cache = new LoadingCache<{ key: number; byteLength: number }>({ limit: 5 * 1024, parallel });
        let running = 0;
        let most = 0;
        const work = requests.map(async ({ key, fails, turns }, i) => {
          for (let turn = 0; turn < i % 5; turn++) await undefined;
          const known = cache.known(key);
          if (known !== undefined) return expect(known.key).toBe(key);
          const loading = cache.load(key, async () => {
            running++;
            most = Math.max(most, running);
            for (let turn = 0; turn < turns; turn++) await undefined;
            running--;
            if (fails) throw new Error('failed');
            return kib(key);
          });
          const value = await loading.catch(() => undefined);
          if (value !== undefined) expect(value.key).toBe(key);
        });
        await Promise.all(work);
        expect(running).toBe(0);
        expect(most).toBeLessThanOrEqual(parallel);
      },
    ),
  );
});
