import { accessSync, constants, existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test } from 'vitest';

/**
 * Tests that need a program of somebody else's, root, or a device. Where it is missing they are skipped and say what is
 * missing; with REQUIRE_PEERS=1 they fail instead.
 */
export interface Needs {
  /** Names from {@link packages}. */
  programs?: readonly Program[];
  root?: boolean;
  /** Device nodes: `/dev/fuse`. */
  devices?: readonly string[];
  /** What a guest is booted from, in {@link guestFolder}. */
  guest?: boolean;
  /** Takes too long for `npm test`: runs with REQUIRE_PEERS=1. */
  slow?: boolean;
  /** Runs in `npm run test:nightly`. */
  nightly?: boolean;
}

/** The Debian package that holds each program; test/install-peers.sh installs them all. */
export const packages = {
  blkid: 'util-linux',
  bmaptool: 'bmap-tools',
  'bcache-super-show': 'bcache-tools',
  btrfs: 'btrfs-progs',
  'btrfs-convert': 'btrfs-progs',
  cryptsetup: 'cryptsetup-bin',
  ddrescue: 'gddrescue',
  ddrescuelog: 'gddrescue',
  debugfs: 'e2fsprogs',
  dumpe2fs: 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  fallocate: 'util-linux',
  fio: 'fio',
  fsfreeze: 'util-linux',
  fstrim: 'util-linux',
  fusermount3: 'fuse3',
  getfattr: 'attr',
  lvm: 'lvm2',
  'make-bcache': 'bcache-tools',
  mandoc: 'mandoc',
  mdadm: 'mdadm',
  mke2fs: 'e2fsprogs',
  'mkfs.btrfs': 'btrfs-progs',
  'mkfs.exfat': 'exfatprogs',
  'mkfs.f2fs': 'f2fs-tools',
  'mkfs.fat': 'dosfstools',
  'mkfs.ntfs': 'ntfs-3g',
  'mkfs.xfs': 'xfsprogs',
  mksquashfs: 'squashfs-tools',
  mkswap: 'util-linux',
  mount: 'mount',
  'mount.exfat-fuse': 'exfat-fuse',
  'nbd-client': 'nbd-client',
  nbdcopy: 'libnbd-bin',
  nbdfuse: 'libnbd-bin',
  nbdinfo: 'libnbd-bin',
  nbdkit: 'nbdkit',
  openssl: 'openssl',
  parted: 'parted',
  partx: 'util-linux',
  resize2fs: 'e2fsprogs',
  genisoimage: 'genisoimage',
  python3: 'python3-libnbd',
  'qemu-ga': 'qemu-guest-agent',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  'qemu-system-x86_64': 'qemu-system-x86',
  script: 'bsdutils',
  setpriv: 'util-linux',
  setfattr: 'attr',
  setsid: 'util-linux',
  sfdisk: 'fdisk',
  sgdisk: 'gdisk',
  losetup: 'mount',
  tune2fs: 'e2fsprogs',
  unshare: 'util-linux',
  virsh: 'libvirt-clients',
  xfs_repair: 'xfsprogs',
  zerofree: 'zerofree',
  zstd: 'zstd',
} as const;
export type Program = keyof typeof packages;

/**
 * Where test/install-peers.sh unpacks a kernel and a static busybox of Debian's, for guests: nothing of them is installed
 * on this machine.
 */
export const guestFolder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'disktool-test/guest');

/** Where administrators' programs are, which a user's PATH leaves out. */
const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin'];
process.env.PATH = [...new Set(folders)].join(delimiter);

export function hasProgram(name: string): boolean {
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export const isRoot = process.getuid?.() === 0;
export const requirePeers = process.env.REQUIRE_PEERS === '1';
export const nightly = process.env.NIGHTLY === '1';

function missing(what: Needs) {
  const { programs = [], root = false, devices = [], guest = false, slow = false, nightly: night = false } = what;
  if (night && !nightly) return { what: 'npm run test:nightly', fatal: false };
  if (guest && process.arch !== 'x64')
    return { what: 'a machine that guests of x86-64 share their programs with', fatal: false };
  if (slow && !requirePeers) return { what: 'npm run test:all', fatal: false };
  const lacking = [
    ...programs.filter((name) => !hasProgram(name)).map((name) => `${name} (package ${packages[name]})`),
    ...devices.filter((path) => !existsSync(path)),
    ...(guest && !existsSync(guestFolder) ? [`${guestFolder} (which test/install-peers.sh fills)`] : []),
    ...(root && !isRoot ? ['root'] : []),
  ];
  return lacking.length === 0 ? undefined : { what: lacking.join(', '), fatal: requirePeers };
}

type Body = () => void | Promise<void>;
type Titled = (title: string, body: Body, timeout?: number) => void;

/** `const it = needs({ programs: ['e2fsck'], root: true })`, then `it('title', …)` as `test`. */
export function needs(what: Needs): Titled {
  const lacking = missing(what);
  return (title, body, timeout) => {
    if (lacking === undefined) test(title, body, timeout);
    else if (lacking.fatal) {
      test(title, () => {
        throw new Error(`needs ${lacking.what}`);
      });
    } else test.skip(`${title} [needs ${lacking.what}]`, body);
  };
}
