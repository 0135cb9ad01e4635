import { readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import { type CpioEntry, cpio } from './cpio.js';
import { guestFolder } from './needs.js';

/** What a guest needs to reach an ext4 on a virtio disk, beside what they say themselves that they need. */
const wanted = ['crc32c_generic', 'ext4', 'virtio_pci', 'virtio_blk'];

const init = `#!/bin/busybox sh
export PATH=/bin
busybox mount -t devtmpfs none /dev
busybox mount -t proc none /proc
for module in /modules/*; do busybox insmod $module; done
busybox mount -t ext4 /dev/vda1 /root || exec busybox reboot -f
busybox mount --move /dev /root/dev
busybox mount --move /proc /root/proc
busybox mount -t sysfs none /root/sys
busybox mount -t tmpfs none /root/run
exec busybox switch_root /root /sbin/init /etc/rc
`;

/**
 * A kernel of Debian's, and an initramfs that loads its modules and hands over to `/sbin/init /etc/rc` of /dev/vda1.
 *
 * @param modules that the guest needs beside those of its disk
 */
export async function guestKernel(
  folder: string,
  modules: readonly string[] = [],
): Promise<{ kernel: string; initramfs: string }> {
  const boot = join(guestFolder, 'boot');
  const kernel = (await readdir(boot)).find((name) => name.startsWith('vmlinuz-'));
  if (kernel === undefined) throw new Error(`there is no kernel in ${boot}`);
  const directories = ['dev', 'proc', 'root', 'bin', 'modules'].map((name) => ({ name, kind: 'directory' }) as const);
  const archive = cpio([
    ...directories,
    { name: 'dev/console', kind: 'character-device', device: [5, 1] },
    { name: 'bin/busybox', bytes: await readFile(join(guestFolder, 'bin/busybox')) },
    { name: 'init', bytes: Buffer.from(init) },
    ...(await moduleEntries(join(guestFolder, 'lib/modules'), [...wanted, ...modules])),
  ]);
  const initramfs = join(folder, 'initramfs');
  await writeFile(initramfs, archive);
  return { kernel: join(boot, kernel), initramfs };
}

/** The modules that are not built into the kernel, named so that each comes after those that it needs. */
async function moduleEntries(folder: string, modules: readonly string[]): Promise<CpioEntry[]> {
  const files = await readdir(folder, { recursive: true });
  const found = new Map<string, Uint8Array>();
  const add = async (module: string): Promise<void> => {
    const file = files.find((path) => [`${module}.ko`, `${module}.ko.xz`].includes(basename(path)));
    if (file === undefined || found.has(module)) return;
    const bytes = await unpacked(join(folder, file));
    const [, needed = ''] = /\0depends=([^\0]*)\0/.exec(bytes.toString('latin1')) ?? [];
    for (const other of needed.split(',')) await add(other);
    found.set(module, bytes);
  };
  for (const module of modules) await add(module);
  return [...found].map(([module, bytes], i) => ({
    name: `modules/${String(i).padStart(2, '0')}-${module}.ko`,
    bytes,
  }));
}

async function unpacked(path: string): Promise<Buffer> {
  if (!path.endsWith('.xz')) return readFile(path);
  const { stdout } = await execa('xz', ['--decompress', '--stdout', path], { encoding: 'buffer' });
  return Buffer.from(stdout);
}
