import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { guestKernel } from '../support/guest-kernel.js';
import { guestRoot, guestRootPrograms } from '../support/guest-root.js';
import { needs } from '../support/needs.js';
import { disktool } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ programs: ['qemu-system-x86_64', ...guestRootPrograms], guest: true });

const programs = { '/sbin/init': '/bin/dash', '/bin/ls': '/bin/ls', '/bin/cat': '/bin/cat', '/bin/dd': '/bin/dd' };

/** What the guest's init does: among others it writes over a block of the ledger, and reads it again from the disk. */
const rc = `
/bin/ls /srv/letters
/bin/cat /srv/letters/first /srv/letters/second /srv/ledger > /dev/null
/bin/dd if=/dev/zero of=/srv/ledger bs=4096 count=1 conv=notrunc,fsync
echo 3 > /proc/sys/vm/drop_caches
/bin/cat /srv/ledger > /dev/null
echo the guest is done
echo b > /proc/sysrq-trigger
`;

const neverRead = ['/etc/never', '/srv/never', '/usr/lib/never.so'];

it('names the files that a Debian kernel and its init read as they boot', async () => {
  const folder = await temporaryFolder();
  const { image, libraries } = await guestRoot(folder, programs, {
    '/etc/rc': rc,
    '/srv/letters/first': 'Dear Sir,\n',
    '/srv/letters/second': 'Yours, &c.\n',
    '/srv/ledger': 'a page\n'.repeat(3000),
    ...Object.fromEntries(neverRead.map((path) => [path, 'never read\n'.repeat(200_000)])),
  });
  const { kernel, initramfs } = await guestKernel(folder);
  const trace = join(folder, 'trace');
  const qemu = [
    ...['timeout', '--kill-after=5', '120', 'qemu-system-x86_64', '-accel', 'tcg', '-m', '256', '-no-reboot'],
    ...['-nodefaults', '-display', 'none', '-serial', 'stdio', '-kernel', kernel, '-initrd', initramfs],
    ...['-append', '"console=ttyS0 quiet panic=-1"', '-drive', 'file=$nbd,format=raw,if=virtio'],
  ];
  const list = join(folder, 'readahead');
  const flags = ['--trace-file', trace, '--readahead-list', list, '--trace-summary', '--json'];
  const served = await disktool(['serve', image, ...flags, '--run', qemu.join(' ')]);
  expect(served).toMatchObject({ status: 0, stdout: expect.stringContaining('the guest is done') });

  const lines = (await readFile(trace, 'utf8')).trimEnd().split('\n');
  const named = (start: string) => [
    ...new Set(lines.flatMap((line) => (line.startsWith(start) ? [line.slice(start.length)] : []))),
  ];
  const linked = Object.keys(programs).map((program) => libraries(program));
  const files = [...Object.keys(programs), ...linked.flat(), '/etc/rc'];
  files.push('/srv/letters/first', '/srv/letters/second', '/srv/ledger');
  const read = named('read f /dev/sda1 ');
  expect(read.toSorted()).toEqual([...new Set(files)].sort());
  // In the order in which they were needed: each program before what it is linked to, all before what it reads.
  expect(read.filter((path) => !path.includes('.so'))).toEqual([
    ...['/sbin/init', '/etc/rc', '/bin/ls', '/bin/cat'],
    ...['/srv/letters/first', '/srv/letters/second', '/srv/ledger', '/bin/dd'],
  ]);
  for (const library of libraries('/sbin/init')) {
    expect(read.indexOf(library)).toBeGreaterThan(read.indexOf('/sbin/init'));
    expect(read.indexOf(library)).toBeLessThan(read.indexOf('/etc/rc'));
  }
  const late = libraries('/bin/ls').filter((library) => !libraries('/sbin/init').includes(library));
  expect(late.length).toBeGreaterThan(0);
  for (const library of late) expect(read.indexOf(library)).toBeGreaterThan(read.indexOf('/bin/ls'));

  expect(named('read d /dev/sda1 ')).toEqual(expect.arrayContaining(['/', '/sbin', '/etc', '/bin', '/srv/letters']));
  // The partition table, and what a mount reads and writes.
  expect(lines).toEqual(
    expect.arrayContaining([
      'read v /dev/sda',
      'read m /dev/sda1',
      'write m /dev/sda1',
      'write f /dev/sda1 /srv/ledger',
    ]),
  );
  // What was written since is read under no older name.
  const written = lines.indexOf('write f /dev/sda1 /srv/ledger');
  expect(lines.indexOf('read w /dev/sda1', written)).toBeGreaterThan(written);
  for (const path of neverRead) expect(lines.join('\n')).not.toContain(path);

  expect(await readFile(list, 'utf8')).toBe(`${read.join('\n')}\n`);
  // Standard output is the console of the guest.
  const { objects }: { objects: { kind: string; path?: string }[] } = JSON.parse(served.stderr);
  expect(objects.flatMap(({ kind, path }) => (kind === 'f' ? [path] : []))).toEqual(read);
}, 180_000);
