import { DiskError } from '../error/disk-error.js';
import { type Filesystem, isReplayable } from '../filesystem/filesystem.js';
import { typeOfContent } from './content.js';
import { diskName } from './device-name.js';
import { findVolume } from './find-volume.js';
import type { Guest, Volume } from './guest.js';

export interface FoundFilesystem {
  readonly volume: Volume;
  readonly filesystem: Filesystem;
  /** Why what is read may not be what the guest would see: one clause each. */
  readonly doubts: readonly string[];
}

/**
 * Finds a filesystem by what its user calls its volume, see {@link findVolume}.
 *
 * @throws {DiskError} NOT_FOUND, USAGE as {@link findVolume}; UNSUPPORTED when what the volume holds is nothing that
 *   disktool reads files of; CORRUPT when it is damaged
 */
export function findFilesystem(guest: Guest, name: string): FoundFilesystem {
  const volume = findVolume(guest, name);
  const { content, problem } = volume;
  if (content.kind !== 'filesystem') throw refusal(guest, volume);
  const hibernated = guest.hibernated === undefined ? undefined : `the guest is hibernated: ${guest.hibernated}`;
  const { filesystem } = content;
  const replayed = isReplayable(filesystem.state)
    ? 'it was not unmounted: its journal is replayed in memory, and files are read as the next mount will show them'
    : undefined;
  return { volume, filesystem, doubts: [problem, hibernated, replayed].filter((text) => text !== undefined) };
}

function refusal(guest: Guest, { name, content }: Volume): DiskError {
  const { disk, table, volumes } = guest;
  const facts = { device: disk.name };
  const where = `${name} of ${disk.name}`;
  switch (content.kind) {
    case 'damaged':
      return new DiskError('CORRUPT', `${where}: ${content.reason}`, facts);
    case 'ambiguous':
      return new DiskError('UNSUPPORTED', `${where} could be ${content.types.join(' or ')}`, facts);
    case 'unknown': {
      const whole = table.partitions.length > 0 && name === diskName;
      const why = whole ? `is the whole disk: ${choice(volumes)}` : 'holds no filesystem that is known';
      return new DiskError('UNSUPPORTED', `${where} ${why}`, facts);
    }
    case 'physical-volume': {
      const inside = volumes.filter(({ logical }) => logical !== undefined && logical.group === content.group);
      const group = content.group === undefined ? 'a volume group' : `the volume group ${content.group}`;
      return new DiskError('UNSUPPORTED', `${where} is a part of ${group}: ${choice(inside)}`, facts);
    }
    default:
      return new DiskError(
        'UNSUPPORTED',
        `${where} holds ${typeOfContent(content)}, whose files disktool does not read`,
        facts,
      );
  }
}

/** Which to name instead. */
function choice(volumes: readonly Volume[]): string {
  const names = volumes.filter(({ content }) => content.kind === 'filesystem').map(({ name }) => name);
  if (names.length === 0) return 'there is no filesystem in it whose files disktool reads';
  return `name ${names.length === 1 ? '' : 'one of '}${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}`;
}
