import { parentPort, workerData } from 'node:worker_threads';
import { useGate } from '../host/native-gate.js';
import type { ThreadData } from '../host/native-thread.js';
import { Readiness } from '../host/readiness.js';
import { control as places, type WatcherOrders } from './messages.js';

/** A thread that waits for requests, for the main thread has other things to wait for as well. */

const {
  gate,
  data: { fd, alarm, control },
}: ThreadData<WatcherOrders> = workerData;

const readiness = new Readiness(fd, alarm);
useGate(gate);
while (Atomics.load(control, places.stop) === 0) {
  Atomics.wait(control, places.armed, 0);
  if (Atomics.load(control, places.stop) !== 0 || !readiness.wait()) break;
  Atomics.store(control, places.armed, 0);
  parentPort?.postMessage('readable');
}
