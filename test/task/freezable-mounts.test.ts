import { expect, test } from 'vitest';
import { parseMountinfo } from '../../src/host/mounts.js';
import { freezableMounts } from '../../src/task/freezable-mounts.js';
import { planAll } from '../../src/task/freeze-plan.js';

/** Mount points are looked at: all of these are folders everywhere. */
const table = `20 1 8:1 / / rw - ext4 /dev/sda1 rw
21 20 0:5 / /proc rw - proc proc rw
22 20 0:6 / /tmp rw - tmpfs tmpfs rw
23 20 8:2 / /usr rw - xfs /dev/sda2 rw
24 20 8:2 /local /usr/local rw - xfs /dev/sda2 rw
25 20 8:3 / /var rw - ext4 /dev/sda3 ro
26 20 0:40 / /etc rw - btrfs /dev/sda4 rw
27 20 8:1 /srv /home rw - ext4 /dev/sda1 rw
28 20 8:5 / /dev rw - ext4 /dev/sda5 rw
29 28 8:6 / /dev rw - ext4 /dev/sda6 rw
30 20 8:7 /hosts /etc/hosts rw - ext4 /dev/sda7 rw
31 20 0:50 / /mnt rw - nfs4 server:/export rw
`;

const names = (text: string) =>
  freezableMounts(parseMountinfo(text)).map(({ mountPoint, device }) => [mountPoint, device]);

test('all: one mount of each writable filesystem on a block device, and of btrfs, but the root', () => {
  expect(names(table)).toEqual([
    ['/usr', '8:2'],
    ['/etc', '0:40'],
    ['/dev', '8:6'],
  ]);
});

test('all is refused where that is nothing', () => {
  const mounts = parseMountinfo('20 1 8:1 / / rw - ext4 /dev/sda1 rw\n21 20 0:5 / /proc rw - proc proc rw\n');
  expect(() => planAll(false, mounts)).toThrow('no filesystem is mounted that could be frozen, besides the root');
});

test('all is refused where one of them holds what this program needs, and is not with force', () => {
  const mounts = parseMountinfo('20 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 20 8:2 / /usr rw - xfs /dev/sda2 rw\n');
  expect(() => planAll(false, mounts)).toThrow(/freeze \/usr: it holds .*: --force/);
  expect(planAll(true, mounts).map(({ mountPoint }) => mountPoint)).toEqual(['/usr']);
});
