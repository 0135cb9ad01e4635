import { Placement } from '../binary/placement.js';
import { DiskError } from '../error/disk-error.js';
import { namesOf } from './content.js';
import { diskName, isLogicalVolumeName, namesOfLogicalVolume, parseDeviceName } from './device-name.js';
import type { Guest, LeftVolume, Volume } from './guest.js';

/**
 * Finds a volume by what its user calls it: a device name in the style of any driver (`/dev/sda1`, `vda1`, `nvme0n1p1`,
 * `1`), that of a logical volume (`/dev/vg/root`, `vg/root`, `/dev/mapper/vg-root`), `LABEL=`, `UUID=`, `PARTLABEL=` or
 * `PARTUUID=`; `/dev/sda` is the whole disk. UUIDs match in upper and lower case, labels to the letter.
 *
 * The whole of a partitioned disk is a volume that is not in `guest.volumes`.
 *
 * @throws {DiskError} NOT_FOUND, naming what there is; USAGE when it fits more than one, naming them; UNSUPPORTED for a
 * logical volume that is not taken apart, saying why
 */
export function findVolume(guest: Guest, name: string): Volume {
  const left = findLeft(guest, name);
  if (left !== undefined) {
    throw new DiskError('UNSUPPORTED', `${left.name} of ${guest.disk.name} cannot be read: ${left.reason}`, {
      device: guest.disk.name,
      reason: 'left-alone',
    });
  }
  const tag = /^(LABEL|UUID|PARTLABEL|PARTUUID)=(.*)$/s.exec(name);
  const [, key = '', value = ''] = tag ?? [];
  const found =
    tag === null ? byDeviceName(guest, name) : guest.volumes.filter((volume) => isCalled(volume, key, value));
  const [first, second] = found;
  if (first === undefined) {
    throw new DiskError('NOT_FOUND', `${guest.disk.name} has no ${name}: it has ${list(guest, guest.volumes)}`);
  }
  if (second !== undefined) {
    throw new DiskError('USAGE', `${name} is more than one in ${guest.disk.name}: name one of ${list(guest, found)}`);
  }
  return first;
}

/** A logical volume that is not taken apart, by any of its names. */
export function findLeft({ left }: Guest, name: string): LeftVolume | undefined {
  return left.find((volume) => isNamed(volume, name));
}

function isNamed({ logical }: Volume | LeftVolume, name: string): boolean {
  return logical !== undefined && namesOfLogicalVolume(logical.group, logical.name).includes(name);
}

function byDeviceName(guest: Guest, name: string): readonly Volume[] {
  const logical = guest.volumes.filter((volume) => isNamed(volume, name));
  if (logical.length > 0 || isLogicalVolumeName(name)) return logical;
  const parsed = parseDeviceName(name);
  if (parsed === undefined) {
    throw new DiskError(
      'USAGE',
      `"${name}" names no device: write it like /dev/sda1, 1, /dev/vg/root, LABEL=…, UUID=…, PARTLABEL=… or PARTUUID=…; ` +
        `${guest.disk.name} has ${list(guest, guest.volumes)}`,
    );
  }
  if (parsed.disk !== 1) return [];
  if (parsed.partition === undefined) return [wholeDisk(guest)];
  return guest.volumes.filter(({ partition }) => partition?.number === parsed.partition);
}

/** The disk itself, whether or not it is partitioned. */
export function wholeDisk({ disk, volumes }: Guest): Volume {
  const placement = Placement.at(0n, disk.facts.size);
  const bare = volumes.find(({ name }) => name === diskName);
  return bare ?? { name: diskName, device: disk, placement, content: { kind: 'unknown' } };
}

function isCalled(volume: Volume, key: string, value: string): boolean {
  // An empty value would fit all that have none.
  if (value === '') return false;
  const { label, uuid } = namesOf(volume.content);
  switch (key) {
    case 'LABEL':
      return label === value;
    case 'UUID':
      return uuid.toLowerCase() === value.toLowerCase();
    case 'PARTLABEL':
      return volume.partition?.name === value;
    default:
      return volume.partition?.uuid.toLowerCase() === value.toLowerCase();
  }
}

/** Enough to choose by. */
function list(guest: Guest, volumes: readonly Volume[]): string {
  if (volumes.length === 0) return 'nothing';
  const shown = volumes.slice(0, 20).map((volume) => {
    const { label, uuid } = namesOf(volume.content);
    const names = [label === '' ? undefined : `LABEL=${label}`, uuid === '' ? undefined : `UUID=${uuid}`];
    const more = names.filter((text) => text !== undefined).join(' ');
    return more === '' ? volume.name : `${volume.name} (${more})`;
  });
  const rest = volumes.length > shown.length ? ` and ${volumes.length - shown.length} more` : '';
  const whole = volumes === guest.volumes && guest.table.partitions.length > 0 ? ` and ${diskName} itself` : '';
  return `${shown.join(', ')}${rest}${whole}`;
}
