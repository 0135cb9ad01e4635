// disktool beside the peers that are installed, in one run: `npm run bench [-- free-space|sparsify|copy|convert|files …]`.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { allocated, makeGuestDisk, rootOffset } from './guest-disk.mjs';
import { benchFolder, compare, disktoolCommand, has, hasGuestfish, sh, wantedSuites } from './measure.mjs';

const suites = { metadata, 'free-space': freeSpace, sparsify, copy, convert, download, files };
const wanted = wantedSuites(suites);
const folder = benchFolder();

const disktool = disktoolCommand.join(' ');
const out = join(folder, 'out.img');
const work = join(folder, 'work.img');
const { image, rootSize } = wanted.some((name) => !['free-space', 'files'].includes(name)) ? guestDisk() : {};

function guestDisk() {
  console.log('making the guest disk: 4 GiB, ext4, every block written, 1.5 GiB of it deleted files');
  const disk = makeGuestDisk(folder);
  sh(`sync ${disk.image}; cat ${disk.image} > /dev/null`);
  return disk;
}

/**
 * Nobody pays for what the one before left to be written. And all find memory in the same state: where this machine is a
 * guest, its host takes freed pages back within seconds, and each costs a fault when it is used again.
 */
function freshOutput() {
  rmSync(out, { force: true });
  sh('sync; sleep 4');
}

for (const name of wanted) suites[name]();

function metadata() {
  compare('free space from metadata', {
    'disktool sparsify --dry-run': { command: `${disktool} sparsify --dry-run ${image}` },
    ...(has('dumpe2fs') && { dumpe2fs: { command: `dumpe2fs '${image}?offset=${rootOffset}'` } }),
  });
}

/** What it costs follows the metadata, not the size: a disk that is large and empty has little. */
function freeSpace() {
  const large = join(folder, 'large.img');
  sh(`mke2fs -Fq -t ext4 ${large} 1T`);
  const ours = { command: `${disktool} sparsify --dry-run ${large}` };
  compare('free space of 1 TiB of ext4', {
    'disktool sparsify --dry-run': ours,
    ...(has('dumpe2fs') && { dumpe2fs: { command: `dumpe2fs ${large}` } }),
    ...(has('e2image') && { e2image: { prepare: freshOutput, command: `e2image ${large} ${out}` } }),
    ...(hasGuestfish() && {
      'guestfish df': { command: `guestfish --ro -a ${large} run : mount-ro /dev/sda / : df` },
    }),
  });
  const data = join(folder, 'data');
  sh(`head -c 40M /dev/urandom > ${data}`);
  sh(
    `printf 'jo -c\njw -b 100000000-100010000 ${data}\njc\n' > ${data}.debugfs; debugfs -w -f ${data}.debugfs ${large}`,
  );
  compare('the same with a journal of 40 MiB to be replayed', { 'disktool sparsify --dry-run': ours });
  rmSync(large);
  for (const [type, peer] of [
    ['xfs', `xfs_db -r -c 'freesp -s' ${large}`],
    ['btrfs', `btrfs inspect-internal dump-tree -t extent ${large}`],
  ]) {
    if (!has(`mkfs.${type}`)) continue;
    sh(`truncate -s 1T ${large} && mkfs.${type} -q ${large}`);
    compare(`free space of 1 TiB of ${type}`, {
      'disktool sparsify --dry-run': ours,
      [peer.split(' ')[0]]: { command: peer },
    });
    rmSync(large);
  }
}

function sparsify() {
  const fresh = () => sh(`cp --sparse=never --reflink=never ${image} ${work} && sync ${work}`);
  const figure = () => `${Math.round(allocated(work) / 2 ** 20)} MiB left`;
  compare('shrink in place', {
    'disktool sparsify': { prepare: fresh, command: `${disktool} sparsify --quiet ${work}`, figure },
    ...(has('zerofree') && {
      'zerofree + fallocate -d': {
        prepare: fresh,
        command: `zerofree '${work}?offset=${rootOffset}'; fallocate --dig-holes ${work}; sync ${work}`,
        figure,
      },
    }),
  });
  rmSync(work, { force: true });
}

function copy() {
  const prepare = freshOutput;
  const figure = () => `${Math.round(allocated(out) / 2 ** 20)} MiB`;
  compare('sparse copy of the whole', {
    'disktool copy': { prepare, command: `${disktool} copy --quiet ${image} ${out}`, figure },
    'cp --sparse=always, sync': {
      prepare,
      command: `cp --sparse=always --reflink=never ${image} ${out}; sync ${out}`,
      figure,
    },
    'cp --sparse=always': { prepare, command: `cp --sparse=always --reflink=never ${image} ${out}`, figure },
    ...(has('qemu-img') && {
      'qemu-img convert, sync': {
        prepare,
        command: `qemu-img convert -f raw -O raw ${image} ${out}; sync ${out}`,
        figure,
      },
      'qemu-img convert': { prepare, command: `qemu-img convert -f raw -O raw ${image} ${out}`, figure },
    }),
  });
  compare('copy without the free space', {
    'disktool copy --sparsify': { prepare, command: `${disktool} copy --sparsify --quiet ${image} ${out}`, figure },
  });
  prepare();
}

/** As those who use qemu-img convert by default: no flags of its speed, and what it wrote is on the disk in the end. */
function convert() {
  if (!has('qemu-img')) return;
  const prepare = freshOutput;
  const figure = () => `${Math.round(allocated(out) / 2 ** 20)} MiB`;
  const against = (title, source, ours, theirs) =>
    compare(title, {
      'disktool copy': { prepare, command: `${disktool} copy --quiet ${ours} ${source} ${out}`, figure },
      'qemu-img convert, sync': {
        prepare,
        command: `qemu-img convert ${theirs} ${source} ${out}; sync ${out}`,
        figure,
        goal: 1,
      },
    });
  against('raw to qcow2', image, '--convert qcow2', '-f raw -O qcow2');
  sh(`qemu-img convert -f raw -O qcow2 ${image} ${work} && sync ${work}`);
  against('qcow2 to raw', work, '--convert raw', '-f qcow2 -O raw');
  against('qcow2 to qcow2', work, '', '-f qcow2 -O qcow2');
  rmSync(work);
  // The whole disk would take minutes a round.
  sh(`head -c ${1 << 30} ${image} > ${work} && sync ${work}`);
  for (const type of ['zlib', 'zstd']) {
    const theirs = `-f raw -O qcow2 -c -o compression_type=${type}`;
    against(`1 GiB of raw to qcow2 compressed with ${type}`, work, `--convert qcow2 --compress ${type}`, theirs);
  }
  rmSync(work);
  prepare();
}

function download() {
  const prepare = freshOutput;
  const figure = () => `${Math.round(allocated(out) / 2 ** 20)} MiB`;
  const dd = `dd if=${image} of=${out} bs=1M skip=${rootOffset / 2 ** 20} count=${rootSize / 2 ** 20} conv=sparse status=none`;
  compare('one partition into a file', {
    'disktool download': { prepare, command: `${disktool} download --quiet ${image} /dev/sda1 ${out}`, figure },
    'dd conv=sparse, sync': { prepare, command: `${dd}; sync ${out}`, figure },
    'dd conv=sparse': { prepare, command: dd, figure },
  });
  prepare();
}

/**
 * Which file lies where, of 100,000 files: filefrag asks the kernel, through a mount that only root can make, and
 * guestfish walks them in an appliance, which it starts first.
 */
function files() {
  const count = 100_000;
  const tree = join(folder, 'tree');
  const disk = join(folder, 'files.img');
  for (let i = 0; i < count; i++) {
    const place = join(tree, `${i % 20}`, `${Math.floor(i / 100)}`);
    if (i % 100 < 20) mkdirSync(place, { recursive: true });
    writeFileSync(join(place, `file-${i}.conf`), 'x'.repeat((i * 37) % 3000));
  }
  sh(`mke2fs -Fq -t ext4 -N 150000 -d ${tree} ${disk} 1G; rm -rf ${tree}; cat ${disk} > /dev/null`);
  const mountPoint = join(folder, 'mount');
  mkdirSync(mountPoint);
  const byMount = `mount -o loop,ro ${disk} ${mountPoint}; trap 'umount ${mountPoint}' EXIT;`;
  const contenders = {
    'disktool bmap': { command: `${disktool} bmap --quiet ${disk}` },
    ...(has('filefrag') &&
      process.getuid() === 0 && {
        'filefrag over a mount': {
          command: `${byMount} find ${mountPoint} -type f -exec filefrag -e {} + > /dev/null`,
        },
      }),
    ...(hasGuestfish() && {
      'guestfish find': { command: `guestfish --ro -a ${disk} run : mount-ro /dev/sda / : find / > /dev/null` },
    }),
  };
  const unit = {
    of: (run) => count / run.seconds,
    show: (value) => `${Math.round(value)} files/s`,
    ratio: (ours, theirs) => ours / theirs,
  };
  compare('map 100,000 files', contenders, { unit });
  rmSync(disk);
}
