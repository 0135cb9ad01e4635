import type { GroupMetadata, LogicalVolumeEntry } from './metadata.js';

/** What is known of a volume beyond where its extents lie. */
export interface Verdict {
  /** Why nothing in it may be changed, as a clause; undefined when it is the guest's own and nobody else's. */
  readonly reason?: string | undefined;
  /** Whether the bytes of its extents, in their order, are what the guest sees. */
  readonly readable: boolean;
}

/** What the types of segment are that map nothing straight. lvmthin(7), lvmcache(7), lvmraid(7), lvmvdo(7). */
const types: readonly (readonly [RegExp, string])[] = [
  [/^thin-pool$/, 'a thin pool: only the pool knows what its volumes need'],
  [/^thin$/, 'a thin volume: its pool maps it'],
  [/^cache-pool$/, 'a cache pool: it may hold what its volume does not have yet'],
  [/^cache$/, 'a cached volume: what is newest may be in the cache'],
  [/^writecache$/, 'a volume with a write cache: what is newest may be in the cache'],
  [/^raid/, 'a RAID volume: its images are to stay alike'],
  [/^mirror$/, 'a mirror: its images are to stay alike'],
  [/^integrity$/, 'a volume with integrity checksums'],
  [/^vdo-pool$/, 'a VDO pool: only the pool knows what its volumes need'],
  [/^vdo$/, 'a VDO volume: its pool maps it'],
  [/^(?:error|zero)$/, 'a part of it lies nowhere'],
];

const knownStatus = new Set([
  'READ',
  'WRITE',
  'VISIBLE',
  'FIXED_MINOR',
  'WRITE_LOCKED',
  'ACTIVATION_SKIP',
  'NOAUTOACTIVATE',
]);

/** By the name of a logical volume: the others in whose segments it is named. */
export type Users = ReadonlyMap<string, ReadonlySet<LogicalVolumeEntry>>;

export function findUsers({ logicalVolumes }: GroupMetadata): Users {
  const users = new Map<string, Set<LogicalVolumeEntry>>();
  for (const volume of logicalVolumes.values()) {
    for (const name of volume.segments.flatMap(({ names }) => names)) {
      if (name === volume.name || !logicalVolumes.has(name)) continue;
      users.set(name, (users.get(name) ?? new Set()).add(volume));
    }
  }
  return users;
}

/**
 * Tells whether a logical volume is one by itself, of extents on physical volumes; if not, what else it is.
 *
 * @param of the others that name it
 */
export function leftAlone(
  { name, segments, status }: LogicalVolumeEntry,
  of: Users,
  { physicalVolumes }: GroupMetadata,
): Verdict {
  const unreadable = (reason: string): Verdict => ({ reason, readable: false });
  const users = [...(of.get(name) ?? [])];
  const snapshots = users.flatMap((user) => user.segments.flatMap(({ snapshot }) => snapshot ?? []));
  const shown = snapshots.find(({ store }) => store === name);
  if (shown !== undefined) return unreadable(`a snapshot of ${shown.origin}: it keeps what that held`);

  const strange = segments.find(({ areas }) => areas.length === 0);
  if (strange !== undefined) {
    const [, reason = `its segments are of the type ${JSON.stringify(strange.type.slice(0, 40))}`] =
      types.find(([type]) => type.test(strange.type)) ?? [];
    return unreadable(reason);
  }
  if (!status.includes('VISIBLE')) {
    const user = users[0]?.name;
    return unreadable(user === undefined ? "hidden: none of the guest's own" : `hidden: a part of ${user}`);
  }
  const flags = segments.flatMap(({ flags }) => flags);
  const odd = [...status, ...flags].find((word) => !knownStatus.has(word));
  if (odd !== undefined) return unreadable(`its status is ${JSON.stringify(odd.slice(0, 40))}`);
  const below = segments.flatMap(({ areas }) => areas).find((area) => !physicalVolumes.has(area.name));
  if (below !== undefined) return unreadable(`it stands on the logical volume ${below.name}`);

  const [snapshot] = snapshots;
  if (snapshot?.merging === true) return unreadable(`the snapshot ${snapshot.store} is merged into it`);
  if (snapshot !== undefined) {
    const reason = `the snapshot ${snapshot.store} still shows what it calls free`;
    return { reason, readable: true };
  }
  const [user] = users;
  return user === undefined ? { readable: true } : { reason: `${user.name} stands on it`, readable: true };
}
