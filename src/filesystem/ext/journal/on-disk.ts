import { bit, flags } from '../../../binary/bits.js';
import { bytes, layout, u8, u16, u32, u64 } from '../../../binary/layout.js';

/** The structures of a jbd2 journal: the kernel's Documentation/filesystems/ext4, Journal (jbd2), section named at each. */

/** h_magic: what every block of the log but those of data begins with. */
export const journalMagic = 0xc03b3998;

/** h_blocktype. */
export const blockType = { descriptor: 1, commit: 2, superblockV1: 3, superblockV2: 4, revoke: 5 } as const;

/** Block Header. */
export const journalHeader = layout(
  'journal_header_s',
  { size: 12, endian: 'big', spec: 'Documentation/filesystems/ext4: Block Header' },
  {
    h_magic: u32(0x0, 'magic', '0xC03B3998'),
    h_blocktype: u32(0x4, 'enum', 'what the block is'),
    h_sequence: u32(0x8, 'transaction', 'that the block belongs to'),
  },
);

/** s_feature_compat. */
export const journalCompat = flags('s_feature_compat', { checksum: bit(0) });
/** s_feature_incompat. */
export const journalIncompat = flags('s_feature_incompat', {
  revoke: bit(0),
  '64bit': bit(1),
  async_commit: bit(2),
  csum_v2: bit(3),
  csum_v3: bit(4),
  fast_commit: bit(5),
});
/** s_feature_ro_compat: there are none. */
export const journalRoCompat = flags('s_feature_ro_compat', {});

/** s_checksum_type, h_chksum_type. */
export const checksumType = { none: 0, crc32: 1, crc32c: 4 } as const;
/** h_chksum_size of a crc32. */
export const crc32Size = 4;
/** Blocks of fast commits when s_num_fc_blks is 0: JBD2_DEFAULT_FAST_COMMIT_BLOCKS. */
export const usualFastCommitBlocks = 256;

/** Super Block. */
export const journalSuperblock = layout(
  'journal_superblock_s',
  { size: 1024, endian: 'big', spec: 'Documentation/filesystems/ext4: Journal, Super Block' },
  {
    h_magic: u32(0x0, 'magic', '0xC03B3998'),
    h_blocktype: u32(0x4, 'enum', '3: version 1, 4: version 2'),
    h_sequence: u32(0x8, 'transaction', 'of no meaning here'),
    s_blocksize: u32(0xc, 'bytes', 'a block'),
    s_maxlen: u32(0x10, 'blocks', 'in the journal'),
    s_first: u32(0x14, 'block of the journal', 'first of the log'),
    s_sequence: u32(0x18, 'transaction', 'the first one that is expected in the log'),
    s_start: u32(0x1c, 'block of the journal', 'where that one begins; 0 when the log is empty'),
    s_errno: u32(0x20, 'error', 'that the journal was given up for'),
    s_feature_compat: u32(0x24, 'flags', 'from version 2 on'),
    s_feature_incompat: u32(0x28, 'flags', 'from version 2 on'),
    s_feature_ro_compat: u32(0x2c, 'flags', 'from version 2 on'),
    s_uuid: bytes(0x30, 16, 'UUID', 'of the journal'),
    s_nr_users: u32(0x40, 'filesystems', 'that share the journal'),
    s_checksum_type: u8(0x50, 'enum', '4: crc32c'),
    s_num_fc_blks: u32(0x54, 'blocks', 'of fast commits, at the end of the journal'),
    s_checksum: u32(0xfc, 'crc32c', 'of the superblock with zeros in this field'),
  },
);

/** t_flags. */
export const tagFlags = flags('t_flags', { escape: bit(0), same_uuid: bit(1), deleted: bit(2), last_tag: bit(3) });

/** Descriptor Block: a tag without csum_v3; the last field is there with 64bit alone. */
export const blockTag = layout(
  'journal_block_tag_s',
  { size: 8, endian: 'big', spec: 'Documentation/filesystems/ext4: Descriptor Block' },
  {
    t_blocknr: u32(0x0, 'block', 'of the filesystem, low 32 bits'),
    t_checksum: u16(0x4, 'crc32c', 'of sequence and data block, low 16 bits, with csum_v2'),
    t_flags: u16(0x6, 'flags', 'of the tag'),
  },
);
export const blockTagHigh = layout(
  'journal_block_tag_s (64bit)',
  { size: 4, endian: 'big', spec: 'Documentation/filesystems/ext4: Descriptor Block' },
  { t_blocknr_high: u32(0x0, 'block', 'of the filesystem, high 32 bits') },
);
/** Bytes that csum_v2 adds to a tag and nobody uses. */
export const tagPaddingV2 = 2;

/** Descriptor Block: a tag with csum_v3. */
export const blockTag3 = layout(
  'journal_block_tag3_s',
  { size: 16, endian: 'big', spec: 'Documentation/filesystems/ext4: Descriptor Block' },
  {
    t_blocknr: u32(0x0, 'block', 'of the filesystem, low 32 bits'),
    t_flags: u32(0x4, 'flags', 'of the tag'),
    t_blocknr_high: u32(0x8, 'block', 'of the filesystem, high 32 bits, with 64bit'),
    t_checksum: u32(0xc, 'crc32c', 'of sequence and data block'),
  },
);

/** Bytes of the UUID behind a tag without same_uuid. */
export const tagUuidSize = 16;

/** Descriptor Block, Revocation Block: their last bytes, with csum_v2 and csum_v3. */
export const blockTail = layout(
  'jbd2_journal_block_tail',
  { size: 4, endian: 'big', spec: 'Documentation/filesystems/ext4: Descriptor Block' },
  { t_checksum: u32(0x0, 'crc32c', 'of the block with zeros in this field') },
);

/** Revocation Block. */
export const revokeHeader = layout(
  'jbd2_journal_revoke_header_s',
  { size: 16, endian: 'big', spec: 'Documentation/filesystems/ext4: Revocation Block' },
  {
    h_magic: u32(0x0, 'magic', '0xC03B3998'),
    h_blocktype: u32(0x4, 'enum', '5'),
    h_sequence: u32(0x8, 'transaction', 'that the block belongs to'),
    r_count: u32(0xc, 'bytes', 'used in this block'),
  },
);
/** Revocation Block: one block number, without and with 64bit. */
export const revokedBlock = layout(
  'revoked block',
  { size: 4, endian: 'big', spec: 'Documentation/filesystems/ext4: Revocation Block' },
  { block: u32(0x0, 'block', 'of the filesystem') },
);
export const revokedBlock64 = layout(
  'revoked block (64bit)',
  { size: 8, endian: 'big', spec: 'Documentation/filesystems/ext4: Revocation Block' },
  { block: u64(0x0, 'block', 'of the filesystem') },
);

/** Commit Block. */
export const commitHeader = layout(
  'commit_header',
  { size: 60, endian: 'big', spec: 'Documentation/filesystems/ext4: Commit Block' },
  {
    h_magic: u32(0x0, 'magic', '0xC03B3998'),
    h_blocktype: u32(0x4, 'enum', '2'),
    h_sequence: u32(0x8, 'transaction', 'that the block ends'),
    h_chksum_type: u8(0xc, 'enum', '1: crc32, with checksum'),
    h_chksum_size: u8(0xd, 'bytes', 'of the checksum, with checksum'),
    h_chksum: u32(
      0x10,
      'checksum',
      'crc32 of descriptors and data with checksum, crc32c of this block with csum_v2 and csum_v3',
    ),
    h_commit_sec: u64(0x30, 'seconds', 'since 1970'),
    h_commit_nsec: u32(0x38, 'nanoseconds', 'of the same time'),
  },
);
