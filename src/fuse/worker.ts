import { workerData } from 'node:worker_threads';
import { done } from '../device/block-device.js';
import { openPlain } from '../device/plain-device.js';
import { useGate } from '../host/native-gate.js';
import type { ThreadData } from '../host/native-thread.js';
import { Readiness } from '../host/readiness.js';
import { control as places, type WorkerOrders } from './messages.js';
import { RequestBuffer } from './request-buffer.js';
import { Session } from './session.js';
import { ShownFile } from './shown-file.js';
import { Tree } from './tree.js';

/**
 * A thread that answers requests for plain files one after the other: whoever asks sleeps meanwhile, and is woken by the
 * reply, which costs more than all the rest. Other threads answer others at the same time.
 */

/** Times that it looks for another request before it sleeps: who waits for each reply asks again within microseconds. */
const looks = 40;

const {
  gate,
  data: { fd, alarm, control, files, owner },
}: ThreadData<WorkerOrders> = workerData;

const tree = new Tree(
  files.map(({ path, file: { plain, readOnly } }) => ({
    path,
    file: new ShownFile(openPlain(plain).device, readOnly),
  })),
);
const session = new Session(fd, tree, owner, false);
const buffer = new RequestBuffer();
const readiness = new Readiness(fd, alarm);
useGate(gate);
await serve();

async function serve(): Promise<void> {
  for (let missed = 0; Atomics.load(control, places.stop) === 0; ) {
    const taken = buffer.take(fd);
    if (taken === 'unmounted') return;
    if (taken !== 'nothing') {
      missed = 0;
      const answered = session.answer(buffer);
      if (answered !== done) await answered;
    } else if (missed < looks) missed++;
    else {
      missed = 0;
      if (!readiness.wait()) return;
    }
  }
}
