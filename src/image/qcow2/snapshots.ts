import { min, roundUp, toNumber } from '../../binary/convert.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { readView } from '../../device/read-view.js';
import { DiskError } from '../../error/disk-error.js';
import type { Place } from '../../error/message.js';
import type { Qcow2Header } from './header.js';
import { checkL1, type L1Place } from './l1-place.js';
import { largestSnapshotExtraData, largestSnapshotTable, snapshotEntry, snapshotExtraData } from './on-disk.js';
import { nameText } from './text.js';

/** An internal snapshot, as the snapshot table has it. */
export interface Qcow2Snapshot {
  readonly id: string;
  readonly name: string;
  readonly takenAt: Date;
  /** Nanoseconds that the guest had run. */
  readonly vmClock: bigint;
  /** Bytes; 0 of a snapshot of the disk alone. */
  readonly vmStateSize: bigint;
  /** Bytes of the virtual disk. */
  readonly diskSize: bigint;
  /** Bytes from the start of the file: of its entry. */
  readonly offset: bigint;
  /** Checked when it is opened. */
  readonly l1: { readonly offset: bigint; readonly count: number };
}

/** Bytes read at a time. */
const windowSize = 64 * 1024;
const alignment = 8n;

/**
 * Lists the internal snapshots.
 *
 * @throws {DiskError} CORRUPT when the table passes the end of the file; UNSUPPORTED when it is larger than QEMU's
 * largest, or keeps more of a snapshot than anybody knows
 */
export async function readQcow2Snapshots(
  file: BlockDevice,
  header: Qcow2Header,
  options: RequestOptions = {},
): Promise<Qcow2Snapshot[]> {
  const start = header.places.snapshots;
  const reader = new SequentialReader(file, options);
  const snapshots: Qcow2Snapshot[] = [];
  let at = start;
  for (let i = 0; i < header.snapshotCount; i++) {
    const place: Place = { structure: snapshotEntry.name, offset: at, device: file.name };
    const raw = snapshotEntry.at(await reader.view(at, snapshotEntry.size, place, 'place'));
    const { extra_data_size: extraSize, id_str_size: idSize, name_size: nameSize } = raw;
    if (extraSize > largestSnapshotExtraData) {
      const expected = `at most ${largestSnapshotExtraData}`;
      throw DiskError.unsupported({ ...place, field: 'extra_data_size', actual: extraSize, expected });
    }
    const fixed = snapshotEntry.size + extraSize;
    const end = at + roundUp(BigInt(fixed + idSize + nameSize), alignment);
    if (end - start > BigInt(largestSnapshotTable)) {
      const expected = `at most ${largestSnapshotTable} bytes of snapshot table`;
      throw DiskError.unsupported({ ...place, field: 'end', actual: end - start, expected });
    }
    // What is known of the extra data comes first, and may be cut short.
    const extra = new DataView(new ArrayBuffer(snapshotExtraData.size));
    const known = Math.min(extraSize, snapshotExtraData.size);
    const stored = await reader.view(at + BigInt(snapshotEntry.size), known, place, 'extra_data_size');
    for (let byte = 0; byte < known; byte++) extra.setUint8(byte, stored.getUint8(byte));
    const { vm_state_size_large: vmStateSize, disk_size: diskSize } = snapshotExtraData.at(extra);

    const texts = await reader.view(at + BigInt(fixed), idSize + nameSize, place, 'name_size');
    snapshots.push(
      Object.freeze({
        id: nameText(texts, 0, idSize) ?? '',
        name: nameText(texts, idSize, nameSize) ?? '',
        takenAt: new Date(raw.date_sec * 1000 + Math.floor(raw.date_nsec / 1e6)),
        vmClock: raw.vm_clock_nsec,
        vmStateSize: known >= 8 ? vmStateSize : BigInt(raw.vm_state_size),
        diskSize: known >= 16 ? diskSize : header.size,
        offset: at,
        l1: Object.freeze({ offset: raw.l1_table_offset, count: raw.l1_size }),
      }),
    );
    at = end;
  }
  return snapshots;
}

/**
 * Finds a snapshot by its ID or, when none has that, by its name, as QEMU does.
 *
 * @throws {DiskError} NOT_FOUND
 */
export function findSnapshot(snapshots: readonly Qcow2Snapshot[], wanted: string, device: string): Qcow2Snapshot {
  const found = snapshots.find(({ id }) => id === wanted) ?? snapshots.find(({ name }) => name === wanted);
  if (found !== undefined) return found;
  const names = snapshots.slice(0, 5).map(({ id, name }) => `${id} (${name})`);
  const there = names.length === 0 ? 'none' : [...names, ...(snapshots.length > 5 ? ['…'] : [])].join(', ');
  throw new DiskError('NOT_FOUND', `${device}: no internal snapshot ${wanted}: there are ${there}`, { device });
}

/** Checks where the L1 table of a snapshot lies. */
export function snapshotL1(file: BlockDevice, header: Qcow2Header, snapshot: Qcow2Snapshot): L1Place {
  const { clusterSize, extendedL2 } = header;
  const place: Place = { structure: snapshotEntry.name, offset: snapshot.offset, device: file.name };
  return checkL1(
    { ...snapshot.l1, diskSize: snapshot.diskSize, entireDisk: false },
    { clusterSize, extendedL2, fileSize: file.facts.size, place },
  );
}

/** Reads small pieces one behind the other. */
class SequentialReader {
  #start = 0n;
  #window: DataView = new DataView(new ArrayBuffer(0));

  constructor(
    private readonly file: BlockDevice,
    private readonly options: RequestOptions,
  ) {}

  /** A view that lasts; `field` is what says that so much is there. */
  async view(offset: bigint, length: number, place: Place, field: string): Promise<DataView> {
    const end = offset + BigInt(length);
    const { size } = this.file.facts;
    if (end > size) {
      const actual = `an entry up to byte ${end}`;
      throw DiskError.corrupt({ ...place, field, actual, expected: `inside the file of ${size} bytes` });
    }
    if (offset < this.#start || end > this.#start + BigInt(this.#window.byteLength)) {
      const wanted = min(BigInt(Math.max(length, windowSize)), size - offset);
      this.#window = await readView(this.file, offset, toNumber(wanted), this.options);
      this.#start = offset;
    }
    return new DataView(this.#window.buffer, this.#window.byteOffset + toNumber(offset - this.#start), length);
  }
}
