import { readdir, readFile } from 'node:fs/promises';

/** What the kernel counts of a process. @see proc(5) */
export async function processFacts(pid: number): Promise<{ resident: number; descriptors: number }> {
  const [status, descriptors] = await Promise.all([
    readFile(`/proc/${pid}/status`, 'utf8'),
    readdir(`/proc/${pid}/fd`),
  ]);
  const resident = /^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1];
  if (resident === undefined) throw new Error(`process ${pid} has no memory`);
  return {
    /** Bytes. */
    resident: Number(resident) * 1024,
    descriptors: descriptors.length,
  };
}
