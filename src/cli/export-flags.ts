import { Flags } from '@oclif/core';
import { DiskError } from '../error/disk-error.js';
import type { ImageFormat } from '../image/image-format.js';
import type { ExportOptions } from '../task/serve/open-export.js';
import { rangeFlag, sourceOf } from './flags.js';
import { freeSpaceFlags, freeSpaceOf, saidOfFreeSpace } from './free-space-flags.js';
import { cowOf, type LayerFlagValues, layersOf, pathsOf } from './layer-flags.js';
import { sourcesOf } from './serve-flags.js';

/** The flags that say how a disk is served, and what they say. */

export const exportFlags = {
  partition: Flags.string({
    summary: 'serve one partition or logical volume of the disk: /dev/sda1, /dev/vg/root',
    helpValue: 'DEVICE',
  }),
  range: rangeFlag({ summary: 'serve these bytes of the disk, or of its partition' }),
  'export-name': Flags.string({ char: 'x', summary: 'name the export', helpValue: 'NAME', default: '' }),
  'read-only': Flags.boolean({ char: 'r', summary: 'refuse writes' }),
  'free-as-holes': Flags.boolean({
    summary: 'refuse writes, and show what the filesystems in the image call free as holes',
    description:
      'It reads as zeros and is reported as such (base:allocation), so that a plain copy by any NBD client is a small one.',
    exclusive: ['memory', 'cow', 'cow-file', 'force-share'],
  }),
  ...freeSpaceFlags,
  force: Flags.boolean({ char: 'f', summary: 'serve for writing although somebody else reads the image' }),
};

type ExportFlags = LayerFlagValues &
  Parameters<typeof sourcesOf>[1] &
  Parameters<typeof freeSpaceOf>[0] & {
    readonly partition?: string | undefined;
    readonly range?: ExportOptions['range'];
    readonly 'read-only': boolean;
    readonly 'free-as-holes': boolean;
    readonly force: boolean;
    readonly format?: ImageFormat | undefined;
    readonly snapshot?: string | undefined;
    readonly 'force-share': boolean;
    readonly map?: string | undefined;
  };

/** What is served and how, the default export first. @throws {DiskError} USAGE */
export function exportsOf(image: string | undefined, flags: ExportFlags): [ExportOptions, ...ExportOptions[]] {
  const cow = cowOf(flags);
  if (flags['force-share'] && !flags['read-only'] && cow === undefined) {
    throw new DiskError('USAGE', '--force-share goes with --read-only or --cow: two writers destroy a disk');
  }
  const freeAsHoles = flags['free-as-holes'] ? freeSpaceOf(flags) : undefined;
  const said = saidOfFreeSpace(flags);
  if (said !== undefined && freeAsHoles === undefined) {
    throw new DiskError('USAGE', `${said} goes with --free-as-holes`);
  }
  const [first, ...others] = sourcesOf(image, flags);
  if (others.length > 0 && flags['cow-file'] !== undefined) {
    throw new DiskError('USAGE', '--cow-file holds the writes to one export: use --cow for several');
  }
  if (others.length > 0 && flags.map !== undefined) {
    throw new DiskError('USAGE', '--map is the map of one disk: of several, maps are made on the spot');
  }
  const common = {
    partition: flags.partition,
    range: flags.range,
    readOnly: flags['read-only'] || freeAsHoles !== undefined,
    freeAsHoles,
    cow,
    layers: layersOf(flags),
    force: flags.force,
    map: flags.map,
    uses: pathsOf(flags),
    ...sourceOf(flags),
  };
  return [{ ...common, ...first }, ...others.map((named) => ({ ...common, ...named }))];
}
