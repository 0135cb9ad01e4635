/**
 * Node ends a thread wherever it happens to be, and koffi aborts the whole process when that is inside one of its calls,
 * or while it is being loaded. So whoever ends a thread closes its gate first: the thread comes to the end of the call
 * that it is in, and never enters another.
 */

/** The places in a gate: 1 while the thread is inside; 1 once nobody may enter any more. */
const inside = 0;
const closed = 1;

/** That of this thread, if another one may end it. */
let own: Int32Array | undefined;

/** A gate for a thread that is about to start. Until the thread says otherwise it is inside. */
export function newGate(): Int32Array {
  const gate = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
  gate[inside] = 1;
  return gate;
}

/** This thread has loaded all that it needs, and has this gate from now on. */
export function useGate(gate: Int32Array): void {
  own = gate;
  leaveNative();
}

/** Before koffi is called. Does not return when this thread is to end. */
export function enterNative(): void {
  if (own === undefined) return;
  // Said before it is asked: so either we see that the gate is closed, or whoever closes it sees us.
  Atomics.store(own, inside, 1);
  if (Atomics.load(own, closed) === 0) return;
  leaveNative();
  Atomics.wait(own, closed, 1);
}

/** After koffi was called. */
export function leaveNative(): void {
  if (own === undefined) return;
  Atomics.store(own, inside, 0);
  if (Atomics.load(own, closed) === 1) Atomics.notify(own, inside);
}

/**
 * Keeps a thread out of koffi from now on, and waits until it is.
 *
 * @param patience milliseconds at most
 */
export function closeGate(gate: Int32Array, patience: number): void {
  Atomics.store(gate, closed, 1);
  Atomics.wait(gate, inside, 1, patience);
}
