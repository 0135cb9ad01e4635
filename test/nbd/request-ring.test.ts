import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { compiledFile } from '../../src/host/compiled.js';
import { RequestRing } from '../../src/nbd/request-ring.js';

test('gives what was noted in its order, and wakes its reader once until that has read', () => {
  let woken = 0;
  const ring = RequestRing.create(
    () => {
      woken++;
    },
    () => {},
  );
  const taken: unknown[] = [];
  for (let round = 1; round <= 3; round++) {
    ring.note('read', 4096 * round, 512);
    ring.note('write', 0, 2 ** 40);
    expect(woken).toBe(round);
    ring.drain((access, offset, length) => taken.push([access, offset, length]));
  }
  expect(taken).toEqual(
    [1, 2, 3].flatMap((i) => [
      ['read', 4096 * i, 512],
      ['write', 0, 2 ** 40],
    ]),
  );
});

test('loses nothing of a thread that notes on and on when it is full', () => {
  const taken: number[] = [];
  const ring: RequestRing = RequestRing.create(
    () => {},
    () => ring.drain((_, offset) => taken.push(offset)),
  );
  for (let i = 0; i < 100_000; i++) ring.note('read', i, 1);
  ring.drain((_, offset) => taken.push(offset));
  expect(taken).toEqual(Array.from({ length: 100_000 }, (_, i) => i));
});

test('takes the requests of several threads, each in its order, while they wait for room', async () => {
  const [threads, each] = [3, 60_000];
  const ring = RequestRing.create(
    () => {},
    () => {},
  );
  const code = `
    const { workerData: { memory, thread, each, module } } = require('node:worker_threads');
    import(module).then(({ RequestRing }) => {
      const ring = RequestRing.over(memory, () => {});
      for (let i = 0; i < each; i++) ring.note('read', i, thread + 1);
    });`;
  const module = compiledFile(new URL('../../src/nbd/', import.meta.url).href, 'request-ring.js');
  const workers = Array.from({ length: threads }, (_, thread) => {
    const workerData = { memory: ring.memory, thread, each, module };
    return new Worker(code, { eval: true, workerData });
  });
  let running = threads;
  const ended = workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve)));
  for (const end of ended) void end.then(() => running--);
  const next = Array.from({ length: threads }, () => 0);
  const take = (_: unknown, offset: number, length: number) => {
    expect(offset).toBe(next[length - 1]);
    next[length - 1] = offset + 1;
  };
  while (running > 0) {
    ring.drain(take);
    await new Promise((resolve) => setImmediate(resolve));
  }
  ring.drain(take);
  await Promise.all(ended);
  expect(next).toEqual(Array.from({ length: threads }, () => each));
});

test('ends where its reader has had enough, says so, and goes on there', () => {
  const ring = RequestRing.create(
    () => {},
    () => {},
  );
  for (let i = 0; i < 10; i++) ring.note('read', i, 1);
  const taken: number[] = [];
  const take = (_: unknown, offset: number) => taken.push(offset);
  expect(ring.drain(take, () => taken.length < 4)).toBe(true);
  expect(taken).toEqual([0, 1, 2, 3]);
  expect(ring.drain(take)).toBe(false);
  expect(taken).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});
