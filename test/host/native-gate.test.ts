import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { closeGate, newGate } from '../../src/host/native-gate.js';
import { until } from '../support/mounted.js';

const compiled = new URL('../../dist/src/host/native-gate.js', import.meta.url).href;

/** A thread that does `work` with a gate and a place to count in. */
function threadThat(work: string): { gate: Int32Array; count: Int32Array; thread: Worker } {
  const gate = newGate();
  const count = new Int32Array(new SharedArrayBuffer(4));
  const script = `
    import { workerData } from 'node:worker_threads';
    import { enterNative, leaveNative, useGate } from ${JSON.stringify(compiled)};
    const { gate, count } = workerData;
    ${work}
  `;
  const url = new URL(`data:text/javascript,${encodeURIComponent(script)}`);
  const thread = new Worker(url, { workerData: { gate, count }, execArgv: [] });
  onTestFinished(async () => {
    await thread.terminate();
  });
  return { gate, count, thread };
}

test('a thread enters no call any more once its gate is closed, and can be ended', async () => {
  const { gate, count, thread } = threadThat(`
    useGate(gate);
    for (;;) { enterNative(); Atomics.add(count, 0, 1); leaveNative(); }
  `);
  await until(() => Atomics.load(count, 0) > 1000);
  closeGate(gate, 5000);
  const calls = Atomics.load(count, 0);
  await sleep(50);
  expect(Atomics.load(count, 0)).toBe(calls);
  expect(await thread.terminate()).toBe(1);
});

test('closing a gate waits for the call that is under way, and for the thread to load', async () => {
  const { gate, count } = threadThat(`
    Atomics.wait(count, 0, 0, 50);
    Atomics.store(count, 0, 1);
    useGate(gate);
  `);
  closeGate(gate, 5000);
  expect(Atomics.load(count, 0)).toBe(1);
  const inCall = threadThat(`
    useGate(gate);
    enterNative();
    Atomics.store(count, 0, 1);
    Atomics.wait(count, 0, 1, 50);
    Atomics.store(count, 0, 2);
    leaveNative();
  `);
  await until(() => Atomics.load(inCall.count, 0) === 1);
  closeGate(inCall.gate, 5000);
  expect(Atomics.load(inCall.count, 0)).toBe(2);
});

test('closing the gate of a thread that never comes out gives up', () => {
  closeGate(newGate(), 10);
});
