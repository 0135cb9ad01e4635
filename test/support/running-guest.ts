import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { guestKernel } from './guest-kernel.js';
import { guestRoot, guestRootPrograms } from './guest-root.js';
import { hold } from './hold.js';
import { until } from './mounted.js';
import { run } from './run.js';

/** What {@link runningGuest} needs. */
export const runningGuestPrograms = [
  ...(['qemu-system-x86_64', 'qemu-ga', 'qemu-img', 'setpriv'] as const),
  ...guestRootPrograms,
] as const;

const programs = {
  '/sbin/init': '/bin/dash',
  '/bin/dd': '/bin/dd',
  '/bin/mv': '/bin/mv',
  '/bin/rm': '/bin/rm',
  '/sbin/qemu-ga': '/usr/sbin/qemu-ga',
};

/** Files that are written, replaced and deleted, one after another; each round has its number in /srv/round, and says so. */
const rc = `
for port in /dev/vport*; do /sbin/qemu-ga --path $port --statedir /run & done
round=0
while :; do
  round=$((round + 1))
  /bin/dd if=/dev/urandom of=/srv/new bs=4k count=$((round % 16 + 1)) 2> /dev/null
  /bin/mv /srv/new /srv/file$((round % 20))
  /bin/rm -f /srv/file$((round * 7 % 20))
  echo $round > /srv/fresh
  /bin/mv /srv/fresh /srv/round
  echo round $round.
done
`;

export interface RunningGuest {
  /** The qcow2 image that its root is on: an ext4, from the first MiB on. */
  readonly image: string;
  /** Unix sockets: of its guest agent, and of the monitor of its QEMU. */
  readonly agent: string;
  readonly qmp: string;
  /** A file that has all that it has said. */
  readonly console: string;
  /** The last of its rounds that it has said was written. */
  readonly round: () => Promise<number>;
  /** Waits until it has written more. */
  readonly goesOn: () => Promise<void>;
  /** As if it lost its power. */
  readonly end: () => Promise<void>;
}

/** A Debian kernel that boots on a qcow2 image, writes to it without end, and has a real guest agent. */
export async function runningGuest(folder: string): Promise<RunningGuest> {
  const at = (name: string) => join(folder, name);
  const { image: raw } = await guestRoot(folder, programs, { '/etc/rc': rc, '/srv/round': '0\n' });
  const image = at('guest.qcow2');
  await run('qemu-img', ['convert', '-O', 'qcow2', raw, image]);
  const { kernel, initramfs } = await guestKernel(folder, ['virtio_console']);
  const [agent, qmp, console] = [at('agent'), at('qmp'), at('console')];
  const { end } = await hold(
    'setpriv',
    [
      // Nothing of it outlives the test, whatever becomes of that.
      ...['--pdeathsig', 'KILL', 'qemu-system-x86_64', '-accel', 'tcg', '-m', '256', '-no-reboot', '-nodefaults'],
      ...['-display', 'none', '-serial', `file:${console}`, '-kernel', kernel, '-initrd', initramfs],
      ...['-append', 'console=ttyS0 quiet panic=-1', '-drive', `file=${image},format=qcow2,if=virtio`],
      ...['-device', 'virtio-serial-pci', '-chardev', `socket,path=${agent},server=on,wait=off,id=agent`],
      ...['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
      ...['-qmp', `unix:${qmp},server=on,wait=off`],
    ],
    () => [agent, qmp, console].every((path) => existsSync(path)),
  );
  const round = async () => {
    const said = [...(await readFile(console, 'latin1')).matchAll(/^round (\d+)\./gm)];
    return Number(said.at(-1)?.[1] ?? 0);
  };
  const goesOn = async () => {
    const before = await round();
    await until(async () => (await round()) > before + 2, 90_000);
  };
  await goesOn();
  return { image, agent, qmp, console, round, goesOn, end };
}
