import { mkdir, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type LoopDevice, loopDevice } from './loop-device.js';
import { run } from './run.js';
import { sharedFolder, temporaryFolder } from './temporary.js';

/** Disks with physical volumes of LVM2, made and described by LVM2's own commands. */

const mebibyte = 1024 * 1024;

export interface LvmRecipe {
  /** In MiB: where each partition with a physical volume begins, and how long it is. None: the disk is one. */
  readonly partitions?: readonly (readonly [start: number, length: number])[];
  /** MiB of the disk; 64 if not said. */
  readonly size?: number;
  /** Commands of LVM2, one after another; `$1` is the first physical volume. */
  readonly commands: readonly string[];
  /** The name of the volume group; `vg` if not said. */
  readonly group?: string;
  /** What is put among the logical volumes of the group before vgcfgrestore: they need a driver to be made otherwise. */
  readonly volumes?: string | undefined;
  /** Logical volumes that get a filesystem each, as {@link fillLogical} makes it, named as they are. */
  readonly filled?: readonly string[];
}

export interface LvmDisk {
  readonly image: string;
  /** The name of its volume group. */
  readonly group: string;
  /** Bytes from the start of the disk, of each physical volume. */
  readonly starts: readonly number[];
  /** One command of LVM2, with `$1` and so on; what it prints. */
  readonly lvm: (command: string) => Promise<string>;
}

/** Programs that {@link lvmDisk} needs; root as well, for the loop devices. */
export const lvmNeeds = { programs: ['lvm', 'losetup', 'sfdisk', 'mke2fs', 'debugfs'], root: true } as const;

/** Nothing of the machine's own volume groups is looked at, nor its state changed. */
function configuration(folder: string, devices: readonly string[]): string {
  const accept = devices.map((device) => `"a|^${device}$|"`).join(', ');
  return `devices {
  scan = [ "/dev" ]
  use_devicesfile = 0
  filter = [ ${accept}, "r|.*|" ]
  global_filter = [ ${accept}, "r|.*|" ]
  obtain_device_list_from_udev = 0
  external_device_info_source = "none"
  hints = "none"
  md_component_detection = 0
}
global { locking_dir = "${folder}/lock" use_lvmpolld = 0 use_lvmlockd = 0 event_activation = 0 }
backup { backup = 0 archive = 0 }
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
`;
}

/** Made once a file of tests, each of which gets a copy of its own: LVM2's commands take longer than cp. */
const originals = new Map<string, Promise<string>>();

/** A disk by a recipe; its loop devices are gone when this resolves, but for those that `lvm` makes as it runs. */
export async function lvmDisk(recipe: LvmRecipe): Promise<LvmDisk> {
  const key = JSON.stringify(recipe);
  const making = originals.get(key) ?? makeOriginal(recipe);
  originals.set(key, making);
  const original = await making;
  const folder = await temporaryFolder();
  const image = join(folder, 'disk.img');
  await run('cp', [original, image]);
  return described(recipe, image, folder);
}

async function makeOriginal(recipe: LvmRecipe): Promise<string> {
  const { partitions, size = 64, commands, volumes, group = 'vg', filled = [] } = recipe;
  const folder = await sharedFolder();
  const image = join(folder, 'disk.img');
  await writeFile(image, '');
  await truncate(image, size * mebibyte);
  if (partitions !== undefined) {
    const lines = partitions.map(([start, length]) => `start=${start}MiB, size=${length}MiB, type=lvm`);
    await run('sfdisk', ['-q', image], { stdin: 'pipe', input: `label: gpt\n${lines.join('\n')}\n` });
  }
  await onDevices(recipe, image, folder, async (lvm) => {
    for (const command of commands) {
      const made = command.includes('-s -n') ? 'lvcreate -y -an' : 'lvcreate -y -an -Zn -Wn';
      await lvm(command.replace(/^lvcreate/, made));
    }
    if (volumes !== undefined) {
      const text = join(folder, 'vg.txt');
      await lvm(`vgcfgbackup -f ${text} ${group}`);
      const backup = await readFile(text, 'utf8');
      const at = /^\tlogical_volumes \{\n/m;
      const full = at.test(backup)
        ? backup.replace(at, (head) => `${head}${volumes}\n`)
        : backup.replace(/\n\}/, `\n\tlogical_volumes {\n${volumes}\n\t}\n}`);
      await writeFile(text, full);
      await lvm(`vgcfgrestore -y --force -f ${text} ${group}`);
    }
    return '';
  });
  for (const name of filled) await fillLogical(described(recipe, image, folder), name, name.slice(0, 16));
  return image;
}

function described(recipe: LvmRecipe, image: string, folder: string): LvmDisk {
  return {
    image,
    group: recipe.group ?? 'vg',
    starts: placesOf(recipe).map(([start]) => start * mebibyte),
    lvm: (command) => onDevices(recipe, image, folder, (lvm) => lvm(command)),
  };
}

/** Where each physical volume begins, and how long it is, in MiB. */
const placesOf = ({ partitions, size = 64 }: LvmRecipe) => partitions ?? [[0, size] as const];

/** Does some work while there are loop devices on the physical volumes of an image. */
async function onDevices(
  recipe: LvmRecipe,
  image: string,
  folder: string,
  work: (lvm: (command: string) => Promise<string>) => Promise<string>,
): Promise<string> {
  const system = join(folder, 'lvm');
  await mkdir(system, { recursive: true });
  const loops: LoopDevice[] = [];
  try {
    for (const [start, length] of placesOf(recipe)) {
      loops.push(await loopDevice(image, '--offset', `${start * mebibyte}`, '--sizelimit', `${length * mebibyte}`));
    }
    const devices = loops.map(({ path }) => path);
    await writeFile(join(system, 'lvm.conf'), configuration(system, devices));
    return await work(async (command) => {
      const words = command.split(' ').map((word) => word.replace(/\$(\d)/, (_, i) => devices[Number(i) - 1] ?? ''));
      const args = [...words.slice(0, 1), '--driverloaded', 'n', ...words.slice(1)];
      const text = await run('lvm', args, {
        env: { LVM_SYSTEM_DIR: system, LVM_SUPPRESS_FD_WARNINGS: '1', LC_ALL: 'C' },
      });
      const named = devices.reduce(
        (all, device, i) => all.replaceAll(new RegExp(`${device}\\b`, 'g'), `$$${i + 1}`),
        text,
      );
      // How wide the last column is tells how many loop devices the machine has in use.
      return named.replace(/ +$/gm, '');
    });
  } finally {
    for (const loop of loops) await loop.detach();
  }
}

/** Rows of a report of LVM2, all sizes in bytes; devices are named `$1` and so on. */
export async function report(disk: LvmDisk, command: string, fields: string): Promise<Record<string, string>[]> {
  const text = await disk.lvm(`${command} --reportformat json --units b --nosuffix -o ${fields}`);
  const parsed: { report: Record<string, Record<string, string>[]>[] } = JSON.parse(text);
  return Object.values(parsed.report[0] ?? {})[0] ?? [];
}

/** A piece of a logical volume, as lvs has it: bytes on the disk, in the order of the volume. */
export interface Piece {
  readonly offset: number;
  readonly length: number;
}

const pieces = new WeakMap<LvmDisk, Map<string, Promise<Piece[]>>>();

/**
 * Where the bytes of a logical volume are, stripe by stripe, from what lvs and pvs say: asked once, since no test moves a
 * volume that it has found.
 */
export function piecesOf(disk: LvmDisk, name: string): Promise<Piece[]> {
  const known = pieces.get(disk) ?? new Map<string, Promise<Piece[]>>();
  pieces.set(disk, known);
  const found = known.get(name) ?? findPieces(disk, name);
  known.set(name, found);
  return found;
}

async function findPieces(disk: LvmDisk, name: string): Promise<Piece[]> {
  const pvs = await report(disk, 'pvs', 'pv_name,pe_start');
  const fields = 'seg_start_pe,stripes,stripe_size,seg_pe_ranges,vg_extent_size,seg_size';
  const segments = await report(disk, 'lvs --segments', `${fields} ${disk.group}/${name}`);
  segments.sort((a, b) => Number(a.seg_start_pe) - Number(b.seg_start_pe));
  return segments.flatMap((segment) => {
    const extent = Number(segment.vg_extent_size);
    const areas = (segment.seg_pe_ranges ?? '').split(' ').map((range) => {
      const [, device = '', first = '0'] = /^(.*):(\d+)-\d+$/.exec(range) ?? [];
      const start = Number(pvs.find((pv) => pv.pv_name === device)?.pe_start);
      return (disk.starts[Number(device.slice(1)) - 1] ?? 0) + start + Number(first) * extent;
    });
    const length = Number(segment.seg_size);
    const stripe = areas.length === 1 ? length : Number(segment.stripe_size);
    return Array.from({ length: length / stripe }, (_, i) => ({
      offset: (areas[i % areas.length] ?? 0) + Math.floor(i / areas.length) * stripe,
      length: stripe,
    }));
  });
}

/** The bytes of a logical volume, as lvs says that they lie. */
export async function readLogical(disk: LvmDisk, name: string): Promise<Buffer> {
  await using file = await open(disk.image, 'r');
  const parts: Buffer[] = [];
  for (const { offset, length } of await piecesOf(disk, name)) {
    const part = Buffer.alloc(length);
    await file.read(part, 0, length, offset);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Puts bytes into a logical volume, where lvs says that they lie. */
export async function writeLogical(disk: LvmDisk, name: string, bytes: Buffer): Promise<void> {
  await using file = await open(disk.image, 'r+');
  let done = 0;
  for (const { offset, length } of await piecesOf(disk, name)) {
    const part = bytes.subarray(done, done + length);
    await file.write(part, 0, part.length, offset);
    done += length;
  }
}

/** An ext4 by mke2fs with files kept and files deleted in a logical volume; what is free in it is no zeros. */
export async function fillLogical(disk: LvmDisk, name: string, label: string): Promise<void> {
  const size = (await piecesOf(disk, name)).reduce((sum, { length }) => sum + length, 0);
  const folder = join(await temporaryFolder(), 'files');
  await mkdir(folder);
  for (let i = 0; i < 12; i++) await writeFile(join(folder, `file-${i}`), Buffer.alloc(100_000 + i, `${name} ${i}, `));
  const path = `${folder}.img`;
  await writeFile(path, Buffer.alloc(size, 0x5a));
  await run('mke2fs', [
    '-Fqt',
    'ext4',
    '-b',
    '1024',
    '-L',
    label,
    '-E',
    'nodiscard',
    '-d',
    folder,
    path,
    `${size / 1024}k`,
  ]);
  const script = `${folder}.debugfs`;
  await writeFile(script, 'rm /file-1\nrm /file-4\nrm /file-7\n');
  await run('debugfs', ['-w', '-f', script, path]);
  await writeLogical(disk, name, await readFile(path));
  await rm(path);
}
