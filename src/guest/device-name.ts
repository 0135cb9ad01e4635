/** How guests and their users call the only disk, its partitions and its logical volumes. */

/** What disktool calls the disk, as libguestfs does. */
export const diskName = '/dev/sda';

export function partitionName(number: number): string {
  return `${diskName}${number}`;
}

export function logicalVolumeName(group: string, name: string): string {
  return `/dev/${group}/${name}`;
}

/** All the names of a logical volume: those of its devices, and what LVM2's own commands take. */
export function namesOfLogicalVolume(group: string, name: string): readonly string[] {
  // The device mapper has one name for both: a hyphen of theirs is doubled there.
  const mapped = [group, name].map((part) => part.replaceAll('-', '--')).join('-');
  return [logicalVolumeName(group, name), `${group}/${name}`, `/dev/mapper/${mapped}`, `mapper/${mapped}`];
}

/** Whether a name could be of a logical volume. */
export function isLogicalVolumeName(name: string): boolean {
  return /^(?:\/dev\/)?(?!mapper\/[^-]*$)[\w.+][\w.+-]*\/[\w.+][\w.+-]*$/.test(name);
}

/**
 * Reads a device name in the style of any driver: `/dev/sda1`, `sda1`, `vda1`, `xvda1`, `hda1`, `ubda1`, `nvme0n1p1`,
 * `mmcblk0p1`, or only `1`; and of the whole disk: `/dev/sda`, `nvme0n1`, …
 *
 * @returns which disk of the guest (1 is the first), and which of its partitions, or undefined for the whole disk;
 *   undefined when it is no device name at all
 */
export function parseDeviceName(name: string): { disk: number; partition: number | undefined } | undefined {
  const number = /^[1-9]\d{0,4}$/.exec(name);
  if (number !== null) return { disk: 1, partition: Number(name) };
  const short = name.startsWith('/dev/') ? name.slice('/dev/'.length) : name;
  const lettered = /^(?:sd|vd|xvd|hd|ubd)([a-z]{1,3})([1-9]\d{0,4})?$/.exec(short);
  if (lettered !== null) return { disk: fromLetters(lettered[1] ?? ''), partition: numberOrNone(lettered[2]) };
  const counted =
    /^(?:nvme(\d{1,3})n([1-9]\d{0,2})|mmcblk(\d{1,3})|loop(\d{1,3})|nbd(\d{1,3}))(?:p([1-9]\d{0,4}))?$/.exec(short);
  if (counted === null) return undefined;
  const [, controller, namespace, ...rest] = counted;
  const first = controller === undefined ? Number(rest.slice(0, 3).find((text) => text !== undefined)) + 1 : 0;
  const disk = controller === undefined ? first : Number(controller) + Number(namespace);
  return { disk, partition: numberOrNone(rest[3]) };
}

function numberOrNone(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

/** `a` is 1, `z` 26, `aa` 27. */
function fromLetters(letters: string): number {
  return [...letters].reduce((sum, letter) => sum * 26 + letter.charCodeAt(0) - 'a'.charCodeAt(0) + 1, 0);
}
