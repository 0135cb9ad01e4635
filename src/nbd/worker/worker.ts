import { Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { openPlain } from '../../device/plain-device.js';
import { useGate } from '../../host/native-gate.js';
import type { ThreadData } from '../../host/native-thread.js';
import { limitSends, receiveNow, socketFd } from '../../host/socket.js';
import { BufferPool } from '../buffer-pool.js';
import { Connection } from '../connection.js';
import { RequestRing } from '../request-ring.js';
import { Attention } from './attention.js';
import type { FromWorker, Handover, ToWorker } from './messages.js';

/** A thread that serves plain files: connections come to it when their handshake is over. */

const port = parentPort;
if (port === null) throw new Error('this file is run by a pool of workers');
const pool = new BufferPool();
/** Where all of them receive, one after the other. Many small requests at once are answered at once. */
const received = Buffer.alloc(256 << 10);
/** Milliseconds that one client may hold up the others by a large reply. */
const patience = 5;
const attention = new Attention();
const connections = new Map<number, Connection>();

port.on('message', (message: ToWorker) => {
  if (message.type === 'serve') serve(message.connection);
  else void connections.get(message.id)?.finish(message.grace);
});

function serve({ id, socket: fd, device: plain, readOnly, style, allocation, rest, requests }: Handover): void {
  const take = (size: number) => connections.get(id)?.receive(received.subarray(0, size));
  const source = {
    poll: () => {
      const from = connections.get(id)?.full === false ? socketFd(socket) : undefined;
      const size = from === undefined ? 0 : receiveNow(from, received);
      if (size > 0) take(size);
      return size > 0;
    },
  };
  const onread = {
    buffer: received,
    callback: (size: number) => {
      attention.pay(source);
      take(size);
      return true;
    },
  };
  // Documented, and missing in the types of Node 20.
  const socketOptions = { fd, readable: true, writable: true, allowHalfOpen: true, onread };
  const socket = new Socket(socketOptions);
  const { device, file } = openPlain(plain);
  limitSends(fd, patience);
  const ring = requests && RequestRing.over(requests, () => tell({ noted: id }));
  const agreed = { export: { name: '', description: '', device, readOnly, requests: ring }, style, allocation };
  const connection = new Connection(socket, agreed, pool, { patience });
  connections.set(id, connection);
  void connection.closed.then(async () => {
    connections.delete(id);
    attention.forget(source);
    // Waits for the requests that still run.
    await file.close();
    tell({ closed: id });
  });
  if (rest.length > 0) connection.receive(Buffer.from(rest));
}

function tell(message: FromWorker): void {
  port?.postMessage(message);
}

const { gate }: ThreadData<undefined> = workerData;
useGate(gate);
