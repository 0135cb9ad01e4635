import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { needs } from '../support/needs.js';
import { disktoolPath, run } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['mke2fs', 'sfdisk', 'qemu-io'] });

/** A disk of one ext4 partition, with three files that debugfs finds. */
async function tracedDisk() {
  const folder = await temporaryFolder();
  const [root, fs, disk] = [join(folder, 'root'), join(folder, 'fs.img'), join(folder, 'disk.img')];
  mkdirSync(join(root, 'etc'), { recursive: true });
  for (const name of ['init', 'libc', 'etc/hosts']) writeFileSync(join(root, name), name.repeat(40_000));
  // The walk comes to /etc before.
  linkSync(join(root, 'etc', 'hosts'), join(root, 'hosts'));
  writeFileSync(join(root, 'two\nlines'), 'x'.repeat(5000));
  await run('mke2fs', ['-Fq', '-t', 'ext4', '-b', '4096', '-d', root, fs, '16M']);
  await run('sh', ['-c', `truncate -s 18M ${disk}; echo 'start=2048,size=32768,type=83' | sfdisk -q ${disk}`]);
  await run('dd', [`if=${fs}`, `of=${disk}`, 'bs=1M', 'seek=1', 'conv=notrunc,sparse', 'status=none']);
  const blockOf = async (path: string) => {
    const first = (await run('debugfs', ['-R', `blocks ${path}`, fs])).trim().split(/\s+/)[0];
    return Number(first) * 4096 + (1 << 20);
  };
  return { folder, disk, blockOf };
}

/** What qemu-io does to the disk, traced on standard error. */
async function traced(args: readonly string[], commands: readonly string[]): Promise<string[]> {
  const io = `qemu-io -f raw ${commands.map((command) => `-c '${command}'`).join(' ')} $nbd >/dev/null`;
  const script = `exec "$@" --run '${io.replaceAll("'", `'\\''`)}' 2>&1`;
  const serve = [process.execPath, disktoolPath, 'serve', ...args];
  return (await run('sh', ['-c', script, 'sh', ...serve])).split('\n').filter((line) => line !== '');
}

it('names each run of accesses, and calls what the guest has written by no older name', async () => {
  const { disk, blockOf } = await tracedDisk();
  const [init, libc] = [await blockOf('/init'), await blockOf('/libc')];
  const lines = await traced(
    ['--trace', disk],
    [
      `read ${init} 4k`,
      `read ${init + 8192} 8k`,
      `read ${libc} 4k`,
      `write ${libc} 4k`,
      `read ${libc} 4k`,
      `read ${libc + 4096} 4k`,
      'read 0 512',
    ],
  );
  // QEMU looks at the first bytes of what it opens.
  expect(lines.filter((line) => !line.endsWith(' v /dev/sda'))).toEqual([
    'read f /dev/sda1 /init',
    'read f /dev/sda1 /libc',
    'write f /dev/sda1 /libc',
    'read w /dev/sda1',
    'read f /dev/sda1 /libc',
  ]);
  expect(lines.at(-1)).toBe('read v /dev/sda');
});
