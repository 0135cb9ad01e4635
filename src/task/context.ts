/** What a task reports while it works, and how it is stopped. */
export interface TaskContext {
  readonly signal?: AbortSignal | undefined;
  /** Fires when the user asks for the second time to stop: for what else would go on for others' sake. */
  readonly insisted?: AbortSignal | undefined;
  /** Called often; whoever shows it decides how often that is. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Something the user should know, that stops nothing: one sentence, lower-case start, no final stop. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

export interface Progress {
  /** What is being done, to what: `scanning a.img for zeros`. */
  readonly phase: string;
  /** Bytes. */
  readonly done: bigint;
  /** Bytes; absent when nobody can tell. */
  readonly total?: bigint | undefined;
}

/** Resolves when a signal fires; never, without one. */
export function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal === undefined) return;
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
