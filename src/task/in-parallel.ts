/**
 * Runs several workers over what they share. The first failure stops the others by their signal, and is thrown once all
 * have come to rest, so that nothing is closed under one that still works.
 */
export async function inParallel(
  count: number,
  signal: AbortSignal | undefined,
  worker: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  let failure: { error: unknown } | undefined;
  await Promise.all(
    Array.from({ length: count }, () =>
      worker(both).catch((error: unknown) => {
        failure ??= { error };
        stop.abort();
      }),
    ),
  );
  if (failure !== undefined) throw failure.error;
}
