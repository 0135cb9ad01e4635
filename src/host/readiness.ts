import { closeSync } from 'node:fs';
import { bytesOf, viewOf } from '../binary/layout.js';
import { epollEvent } from './abi.js';
import { call, tryCall } from './libc.js';

/** A thread that sleeps until a descriptor can be read, or until another thread wakes it: epoll(7), eventfd(2). */

const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;
/** linux/eventpoll.h: of all who wait for the descriptor, one is woken. */
const EPOLLEXCLUSIVE = 2 ** 28;
const CLOEXEC = 0o2000000;

/** Wakes every thread that waits with it, now and from now on. */
export class Alarm implements Disposable {
  readonly fd = Number(call('eventfd', 'to wake threads by', 0, CLOEXEC));
  #closed = false;

  ring(): void {
    // By now the number may be another file's.
    if (!this.#closed) tryCall('write', this.fd, BigUint64Array.of(1n), 8);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    closeSync(this.fd);
  }
}

/** For one thread. */
export class Readiness implements Disposable {
  readonly #epoll = Number(call('epollCreate', 'of a thread', CLOEXEC));
  readonly #told = new DataView(new ArrayBuffer(2 * epollEvent.size));

  /**
   * @param fd what is to be read; of several threads that wait for it, one is woken
   * @param alarm the descriptor of an {@link Alarm}
   */
  constructor(
    fd: number,
    private readonly alarm: number,
  ) {
    this.#watch(fd, EPOLLIN | EPOLLEXCLUSIVE);
    this.#watch(alarm, EPOLLIN);
  }

  /** Sleeps. Returns whether there may be something to read; false: somebody has rung the alarm. */
  wait(): boolean {
    const count = Number(tryCall('epollWait', this.#epoll, bytesOf(this.#told), 2, -1));
    for (let i = 0; i < count; i++) {
      if (epollEvent.at(this.#told, i * epollEvent.size).data === BigInt(this.alarm)) return false;
    }
    return true;
  }

  [Symbol.dispose](): void {
    closeSync(this.#epoll);
  }

  #watch(fd: number, events: number): void {
    const event = new Uint8Array(epollEvent.size);
    epollEvent.put(viewOf(event), { events, data: BigInt(fd) });
    call('epollControl', `of descriptor ${fd}`, this.#epoll, EPOLL_CTL_ADD, fd, event);
  }
}
