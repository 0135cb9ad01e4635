import { viewOf } from '../../binary/layout.js';
import type { RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { hex, type Place } from '../../error/message.js';
import type { Xattr } from '../file.js';
import { type AclEntry, aclTags, aclXattr } from '../posix.js';
import {
  aclCountSize,
  aclEntry,
  aclNames,
  attributeBlock,
  attributeBlockV5,
  attributeEntry,
  attributeFlags,
  attributeLeaf,
  attributeLocal,
  attributeMagics,
  attributeNode,
  attributeRemote,
  largestAttribute,
  largestAttributeDepth,
  remoteMagics,
  shortAttribute,
  shortAttributes,
} from './file-on-disk.js';
import { ForkReader } from './fork-reader.js';
import { checkIdentity } from './identity.js';
import type { Inode } from './inode.js';
import { remotePart } from './remote.js';
import type { XfsVolume } from './volume.js';

/** An attribute as it lies on the disk. */
interface RawAttribute {
  readonly flags: number;
  readonly name: Buffer;
  readonly value: () => Promise<Uint8Array>;
}

/**
 * The extended attributes of an inode that are its users'. What is half written or says where the inode's names are has
 * no name.
 *
 * @throws {DiskError} CORRUPT; IO, CANCELLED
 */
export async function readXattrs(volume: XfsVolume, inode: Inode, options: RequestOptions): Promise<readonly Xattr[]> {
  const found: Xattr[] = [];
  for await (const { flags, name, value } of rawAttributes(volume, inode, options)) {
    if (attributeFlags.has(flags, 'INCOMPLETE') || attributeFlags.has(flags, 'PARENT')) continue;
    const root = attributeFlags.has(flags, 'ROOT');
    const acl = root ? aclNames.get(name.toString('latin1')) : undefined;
    if (acl !== undefined) {
      found.push({ name: Buffer.from(acl), value: aclToXattr(await value(), inode.place) });
      continue;
    }
    const prefix = root ? 'trusted.' : attributeFlags.has(flags, 'SECURE') ? 'security.' : 'user.';
    found.push({ name: Buffer.concat([Buffer.from(prefix), name]), value: await value() });
  }
  return found;
}

async function* rawAttributes(
  volume: XfsVolume,
  inode: Inode,
  options: RequestOptions,
): AsyncGenerator<RawAttribute, void, undefined> {
  const { attributes: fork } = inode;
  if (fork === undefined) return;
  if (fork.format === 'local') yield* shortForm(fork.bytes, inode.place);
  else if (fork.extentCount > 0)
    yield* new AttributeTree(volume, inode, options, await ForkReader.open(volume, inode, fork, options)).all();
}

/** Of attributes that lie in the inode. It ends: each takes 3 bytes at least. */
function* shortForm(bytes: Uint8Array, place: Place): Generator<RawAttribute> {
  const view = viewOf(bytes);
  const wrong = (field: string, actual: number, expected: string) =>
    DiskError.corrupt({ ...place, field, actual, expected });
  if (bytes.length < shortAttributes.size) throw wrong('size of its attribute fork', bytes.length, 'more');
  const { totsize, count } = shortAttributes.at(view);
  if (totsize > bytes.length) throw wrong('totsize', totsize, `at most ${bytes.length}`);
  let at = shortAttributes.size;
  for (let i = 0; i < count; i++) {
    const start = at + shortAttribute.size;
    if (start > totsize) throw wrong('count', count, 'what fits');
    const { namelen, valuelen, flags } = shortAttribute.at(view, at);
    const end = start + namelen + valuelen;
    if (namelen === 0 || end > totsize) throw wrong('namelen', namelen, 'one that fits');
    const name = Buffer.from(bytes.subarray(start, start + namelen));
    const value = bytes.slice(start + namelen, end);
    yield { flags, name, value: () => Promise.resolve(value) };
    at = end;
  }
}

/** Attributes in blocks of their own: one of them, or the leaves of a tree. */
class AttributeTree {
  readonly #checked: 0 | 1;
  /** Bytes that names and values can still have: each has its own in the blocks of the fork. */
  #left: number;

  constructor(
    private readonly volume: XfsVolume,
    private readonly inode: Inode,
    private readonly options: RequestOptions,
    private readonly fork: ForkReader,
  ) {
    this.#checked = volume.superblock.version >= 5 ? 1 : 0;
    this.#left = fork.blockCount * volume.superblock.blockSize;
  }

  /**
   * All of them, from the first leaf on along its neighbours. It ends: each leaf names the one before it, so none comes
   * twice.
   */
  async *all(): AsyncGenerator<RawAttribute, void, undefined> {
    let before = 0;
    for (let number = await this.#firstLeaf(); ; ) {
      const { bytes, place, forw, back, magic } = await this.#block(number);
      const expected = attributeMagics.leaf[this.#checked];
      if (magic !== expected)
        throw DiskError.corrupt({ ...place, field: 'magic', actual: hex(magic), expected: hex(expected) });
      if (back !== before) throw DiskError.corrupt({ ...place, field: 'back', actual: back, expected: before });
      yield* this.#entriesOf(bytes, place);
      // Nothing is before the first block of the fork.
      if (forw === 0) return;
      before = number;
      number = forw;
    }
  }

  async #firstLeaf(): Promise<number> {
    let number = 0;
    for (let depth = 0; depth <= largestAttributeDepth; depth++) {
      const { bytes, place, magic } = await this.#block(number);
      if (magic !== attributeMagics.node[this.#checked]) return number;
      const view = viewOf(bytes);
      const count = view.getUint16(attributeNode.count[this.#checked]);
      if (count === 0) throw DiskError.corrupt({ ...place, field: 'count', actual: 0, expected: 'at least 1' });
      // Behind the hash of its last name.
      number = view.getUint32(attributeNode.entries[this.#checked] + 4);
    }
    const expected = `a leaf, ${largestAttributeDepth} levels down at most`;
    throw DiskError.corrupt({ ...this.inode.place, field: 'its attributes', actual: 'a deeper tree', expected });
  }

  async #block(number: number) {
    const { volume, inode } = this;
    const { bytes, block } = await this.fork.block(number, this.options);
    const offset = volume.offsetOf(block);
    const place = volume.place(`attributes of inode ${inode.number}`, offset);
    const view = viewOf(bytes);
    if (this.#checked === 1) {
      const { uuid, owner, blkno } = attributeBlockV5.at(view);
      const own = { prefix: '', crc: attributeBlockV5.fields.crc.offset, uuid, owner, blkno };
      checkIdentity(volume, bytes, own, { owner: inode.number, offset }, place);
    }
    const { forw, back, magic } = attributeBlock.at(view);
    return { bytes, place, forw, back, magic };
  }

  *#entriesOf(bytes: Uint8Array, place: Place): Generator<RawAttribute> {
    const view = viewOf(bytes);
    const count = view.getUint16(attributeLeaf.count[this.#checked]);
    const start = attributeLeaf.entries[this.#checked];
    const end = start + count * attributeEntry.size;
    if (end > bytes.length) throw DiskError.corrupt({ ...place, field: 'count', actual: count, expected: 'what fits' });
    for (let at = start; at < end; at += attributeEntry.size) {
      const { nameidx, flags } = attributeEntry.at(view, at);
      const local = attributeFlags.has(flags, 'LOCAL');
      const head = local ? attributeLocal.size : attributeRemote.size;
      const wrong = () => DiskError.corrupt({ ...place, field: 'nameidx', actual: nameidx, expected: 'one that fits' });
      if (nameidx < end || nameidx + head > bytes.length) throw wrong();
      const remote = local ? undefined : attributeRemote.at(view, nameidx);
      const { namelen, valuelen } = remote ?? attributeLocal.at(view, nameidx);
      const nameEnd = nameidx + head + namelen;
      if (namelen === 0 || nameEnd + (local ? valuelen : 0) > bytes.length) throw wrong();
      // Of what is half written, there need be no value yet.
      if (!attributeFlags.has(flags, 'INCOMPLETE')) this.#left -= namelen + valuelen;
      if (this.#left < 0) {
        throw DiskError.corrupt({
          ...place,
          field: 'valuelen',
          actual: valuelen,
          expected: 'no more than there is room',
        });
      }
      const name = Buffer.from(bytes.subarray(nameidx + head, nameEnd));
      const value =
        remote === undefined
          ? () => Promise.resolve(bytes.slice(nameEnd, nameEnd + valuelen))
          : () => this.#remote(remote.valueblk, valuelen, place);
      yield { flags, name, value };
    }
  }

  async #remote(first: number, length: number, place: Place): Promise<Uint8Array> {
    const { volume, inode } = this;
    if (length > largestAttribute) {
      const expected = `at most ${largestAttribute}`;
      throw DiskError.corrupt({ ...place, field: 'valuelen', actual: length, expected });
    }
    const parts: Uint8Array[] = [];
    for (let number = first, done = 0; done < length; number++) {
      const { bytes, block } = await this.fork.block(number, this.options);
      const where = volume.place(`attribute value of inode ${inode.number}`, volume.offsetOf(block));
      const part = { magic: remoteMagics.attribute, block, bytes, done, left: length - done };
      const found = remotePart(volume, inode, part, where);
      parts.push(found);
      done += found.length;
    }
    return Buffer.concat(parts);
  }
}

/** An access list as getxattr(2) gives it. @throws {DiskError} CORRUPT */
function aclToXattr(value: Uint8Array, place: Place): Uint8Array {
  const view = viewOf(value);
  const count = value.length < aclCountSize ? -1 : view.getUint32(0);
  if (value.length < aclCountSize + count * aclEntry.size || count < 0) {
    throw DiskError.corrupt({ ...place, field: 'acl_cnt', actual: count, expected: 'what fits' });
  }
  const entries = Array.from({ length: count }, (_, i): AclEntry => {
    const { ae_tag: tag, ae_id: id, ae_perm } = aclEntry.at(view, aclCountSize + i * aclEntry.size);
    const named = aclTags.named.some((known) => known === tag);
    if (!named && !aclTags.unnamed.some((known) => known === tag)) {
      throw DiskError.corrupt({ ...place, field: 'ae_tag', actual: tag, expected: 'one that there is' });
    }
    return { tag, permissions: ae_perm, id: named ? id : undefined };
  });
  return aclXattr(entries);
}
