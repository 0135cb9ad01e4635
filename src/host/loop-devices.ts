import { open, readdir, readFile, stat } from 'node:fs/promises';
import { viewOf } from '../binary/layout.js';
import { LO_FLAGS_READ_ONLY, loopInfo } from './abi.js';
import { type FileIdentity, identify } from './file-identity.js';
import { tryCall } from './libc.js';

/** linux/loop.h. */
const LOOP_GET_STATUS64 = 0x4c05;

export interface LoopDevice {
  /** `/dev/loop3`. */
  readonly path: string;
  readonly writable: boolean;
}

/** The loop devices that are attached to a file, whatever path they were given. */
export async function findLoopDevices(file: FileIdentity): Promise<LoopDevice[]> {
  const names = await readdir('/sys/block').catch(() => []);
  const found = await Promise.all(
    names.filter((name) => /^loop\d+$/.test(name)).map((name) => attachedTo(name, file).catch(() => undefined)),
  );
  return found.filter((device) => device !== undefined);
}

/** The device when it is attached to `file`; rejects when it is attached to nothing. */
async function attachedTo(name: string, file: FileIdentity): Promise<LoopDevice | undefined> {
  const backing = (await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8')).replace(/\n$/, '');
  const path = `/dev/${name}`;
  const told = await askKernel(path);
  if (told !== undefined) {
    return told.device === file.device && told.inode === file.inode ? { path, writable: told.writable } : undefined;
  }
  // Without the right to open the device there is its path, which may be another mount namespace's.
  if (identify(await stat(backing, { bigint: true })).key !== file.key) return undefined;
  return { path, writable: (await readFile(`/sys/block/${name}/ro`, 'utf8')).trim() === '0' };
}

async function askKernel(path: string) {
  const handle = await open(path, 'r').catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    const memory = new Uint8Array(loopInfo.size);
    if (tryCall('ioctl', handle.fd, LOOP_GET_STATUS64, memory) !== 0) return undefined;
    const { lo_device, lo_inode, lo_flags } = loopInfo.at(viewOf(memory));
    return { device: lo_device, inode: lo_inode, writable: (lo_flags & LO_FLAGS_READ_ONLY) === 0 };
  } finally {
    await handle.close();
  }
}
