import { Flags } from '@oclif/core';
import { DiskError } from '../error/disk-error.js';
import { exportFlags, exportsOf } from './export-flags.js';
import { imageFlags } from './flags.js';
import { layerFlags } from './layer-flags.js';
import { lifetimeFlags, sourceFlags } from './serve-flags.js';

/** The flags of `expose`: what it shows and how, which are those of `serve` for one disk, and for how long. */

const { 'export-name': _name, ...shared } = exportFlags;

/** The same flag in words that fit. */
function reworded<Flag>(flag: Flag, words: { readonly summary?: string; readonly description?: string }): Flag {
  return { ...flag, ...words };
}

export const exposeFlags = {
  image: Flags.string({
    char: 'i',
    summary: 'show this disk image: a file, a block device or an nbd:// URI, of any format',
    helpValue: 'IMAGE',
    exclusive: ['file', 'memory'],
  }),
  file: reworded(sourceFlags.file, { summary: 'show the bytes of a file, whatever format they seem to have' }),
  memory: reworded(sourceFlags.memory, {
    summary: 'show a disk of zeros in memory, that takes room for what is written',
  }),
  all: Flags.boolean({
    summary: 'show a folder with a file for the disk and for each of its partitions and logical volumes',
    exclusive: ['partition', 'range'],
  }),
  ...shared,
  partition: reworded(shared.partition, {
    summary: 'show one partition or logical volume of the disk: /dev/sda1, /dev/vg/root',
  }),
  range: reworded(shared.range, { summary: 'show these bytes of the disk, or of its partition' }),
  'free-as-holes': reworded(shared['free-as-holes'], {
    description: 'It reads as zeros and takes no room, so that a plain copy (cp --sparse=auto) is a small one.',
  }),
  force: reworded(shared.force, { summary: 'show it for writing although somebody else reads the image' }),
  ...imageFlags,
  'allow-other': Flags.boolean({
    summary: 'let other users use it, root among them, as far as its mode lets them',
    description:
      'Its mode is that of a new file, by umask. Who is not root needs the line user_allow_other in /etc/fuse.conf.',
  }),
  run: Flags.string({
    summary: 'run a shell command beside it, and unmount when that ends',
    description:
      'It finds the file by $file, the folder of --all by $folder; its status is ours. A signal to us reaches all that it has started, and the disk is there until they have ended: for 10 seconds, then they are killed. What is in a session of its own (setsid, daemons) is left alone. Ctrl-C in a terminal is for the command to answer.',
    helpValue: 'COMMAND',
  }),
  background: Flags.boolean({
    summary: 'end as soon as it is there, and leave a process behind that shows it',
    exclusive: ['run', 'exit-with-parent'],
  }),
  'pid-file': reworded(lifetimeFlags['pid-file'], { summary: 'write the process id here once it is there' }),
  'exit-with-parent': lifetimeFlags['exit-with-parent'],
  ...layerFlags,
};

/** What is shown, of flags that `serve` has as well. @throws {DiskError} USAGE */
export function diskOf(flags: Parameters<typeof exportsOf>[1] & { readonly image?: string | undefined }) {
  if (flags.image === undefined && flags.file === undefined && flags.memory === undefined) {
    throw new DiskError('USAGE', 'name what to show: --image IMAGE, --file PATH or --memory SIZE');
  }
  return exportsOf(flags.image, flags)[0];
}
