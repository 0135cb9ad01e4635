import type { LvmRecipe } from './lvm-image.js';

const two = [
  [1, 30],
  [32, 30],
] as const;

/** Those that every run of the tests has; the others take too long. */
export const quickLayouts = [
  'one linear volume on a disk without a partition table',
  'segments of both kinds on two physical volumes',
  'metadata at both ends',
  'extents that begin early',
];

/** Layouts of volumes that disktool takes apart; each logical volume called `fs…` gets a filesystem. */
export const lvmVariants: Record<string, LvmRecipe> = {
  'one linear volume on a disk without a partition table': {
    commands: ['pvcreate -y $1', 'vgcreate -y vg $1', 'lvcreate -n fs -L 16M vg'],
  },
  'linear volumes with gaps between them': {
    partitions: [[1, 60]],
    commands: [
      'pvcreate -y $1',
      'vgcreate -y vg $1',
      ...['fs1', 'gone1', 'fs2', 'gone2', 'fs3'].map((name) => `lvcreate -n ${name} -L 8M vg`),
      'lvremove -y vg/gone1 vg/gone2',
    ],
  },
  'stripes on two physical volumes': {
    partitions: two,
    commands: ['pvcreate -y $1 $2', 'vgcreate -y vg $1 $2', 'lvcreate -n fs -i2 -I 64k -L 24M vg'],
  },
  'segments of both kinds on two physical volumes': {
    partitions: two,
    commands: [
      'pvcreate -y $1 $2',
      'vgcreate -y -s 1M vg $1 $2',
      'lvcreate -n fs1 -L 5M vg $2',
      'lvcreate -n fs2 -L 6M vg $1',
      'lvextend -L 9M vg/fs1 $1',
      'lvextend -i2 -I 16k -L 15M vg/fs1',
      'lvextend -i1 -L 18M vg/fs1 $2',
    ],
  },
  'metadata at both ends': {
    partitions: [[1, 60]],
    commands: ['pvcreate -y --metadatacopies 2 $1', 'vgcreate -y vg $1', 'lvcreate -n fs -L 20M vg'],
  },
  'extents that begin late': {
    partitions: [[1, 60]],
    commands: ['pvcreate -y --dataalignment 8M $1', 'vgcreate -y -s 2M vg $1', 'lvcreate -n fs -L 12M vg'],
  },
  'extents that begin early': {
    partitions: [[1, 60]],
    commands: [
      'pvcreate -y --metadatasize 60k --dataalignment 64k $1',
      'vgcreate -y -s 64k vg $1',
      'lvcreate -n fs -L 12M vg',
    ],
  },
  'narrow stripes on three physical volumes of small extents': {
    partitions: [
      [1, 20],
      [21, 20],
      [41, 20],
    ],
    commands: ['pvcreate -y $1 $2 $3', 'vgcreate -y -s 128k vg $1 $2 $3', 'lvcreate -n fs -i3 -I 4k -L 18M vg'],
  },
  'metadata on one of two physical volumes': {
    partitions: two,
    commands: [
      'pvcreate -y $1',
      'pvcreate -y --metadatacopies 0 $2',
      'vgcreate -y vg $1 $2',
      'lvcreate -n fs -L 36M vg',
    ],
  },
  'metadata that is ignored, and an area for a boot loader': {
    partitions: two,
    commands: [
      'pvcreate -y $1',
      'pvcreate -y --bootloaderareasize 1M $2',
      'vgcreate -y vg $1 $2',
      'pvchange -y --metadataignore y $2',
      'lvcreate -n fs -L 36M vg',
    ],
  },
  'metadata that goes round its ring': {
    partitions: [[1, 60]],
    commands: [
      'pvcreate -y --metadatasize 36k $1',
      'vgcreate -y vg $1',
      'lvcreate -n fs -L 12M vg',
      ...Array.from({ length: 18 }, (_, i) => `vgchange --addtag ${'long'.repeat(20)}${i} vg`),
    ],
  },
  'names with hyphens and dots': {
    partitions: [[1, 60]],
    commands: ['pvcreate -y $1', 'vgcreate -y vg $1', 'lvcreate -n fs-a.b--c_d+e -L 12M vg'],
  },
};

const id = (letter: string) => [6, 4, 4, 4, 4, 4, 6].map((count) => letter.repeat(count)).join('-');
const volume = (name: string, letter: string, status: string, segment: string) => `${name} {
id = "${id(letter)}"
status = [${status}]
flags = []
segment_count = 1
segment1 {
start_extent = 0
${segment}
}
}`;
const seen = '"READ", "WRITE", "VISIBLE"';
const hidden = '"READ", "WRITE"';
const striped = (extents: number, extent: number) =>
  `extent_count = ${extents}\ntype = "striped"\nstripe_count = 1\nstripes = ["pv0", ${extent}]`;

interface LeftAloneRecipe {
  readonly volumes: string;
  /** Those that cannot be read, and why. */
  readonly left: Readonly<Record<string, RegExp>>;
  /** Those that can, and of which nothing is free. */
  readonly kept?: Readonly<Record<string, RegExp>>;
}

/** Beside a plain volume `fs` of two extents of 4 MiB, volumes that are left alone, in LVM2's own text form. */
export const leftAloneVolumes: Record<string, LeftAloneRecipe> = {
  'a thin pool and its volumes': {
    volumes: [
      volume(
        'pool',
        'a',
        seen,
        'extent_count = 2\ntype = "thin-pool"\nmetadata = "pool_tmeta"\npool = "pool_tdata"\ntransaction_id = 1\nchunk_size = 128\ndiscards = "passdown"\nzero_new_blocks = 1',
      ),
      volume(
        'thin',
        'b',
        seen,
        'extent_count = 4\ntype = "thin"\nthin_pool = "pool"\ntransaction_id = 0\ndevice_id = 1',
      ),
      volume('pool_tmeta', 'c', hidden, striped(1, 4)),
      volume('pool_tdata', 'd', hidden, striped(2, 5)),
      volume('lvol0_pmspare', 'e', hidden, striped(1, 7)),
    ].join('\n'),
    left: {
      pool: /thin pool/,
      thin: /thin volume/,
      pool_tmeta: /a part of pool/,
      pool_tdata: /a part of pool/,
      lvol0_pmspare: /hidden/,
    },
  },
  'a RAID 1 and a mirror': {
    volumes: [
      volume(
        'r1',
        'a',
        seen,
        'extent_count = 1\ntype = "raid1"\ndevice_count = 2\nregion_size = 4096\nraids = ["r1_rmeta_0", "r1_rimage_0", "r1_rmeta_1", "r1_rimage_1"]',
      ),
      volume('r1_rmeta_0', 'b', hidden, striped(1, 3)),
      volume('r1_rimage_0', 'c', hidden, striped(1, 4)),
      volume('r1_rmeta_1', 'd', hidden, striped(1, 5)),
      volume('r1_rimage_1', 'e', hidden, striped(1, 6)),
      volume(
        'm1',
        'f',
        seen,
        'extent_count = 1\ntype = "mirror"\nmirror_count = 2\nregion_size = 1024\nmirrors = ["m1_mimage_0", 0, "m1_mimage_1", 0]',
      ),
      volume('m1_mimage_0', 'g', hidden, striped(1, 8)),
      volume('m1_mimage_1', 'h', hidden, striped(1, 9)),
    ].join('\n'),
    left: { r1: /RAID/, r1_rimage_0: /a part of r1/, m1: /mirror/, m1_mimage_1: /a part of m1/ },
  },
  'a cached volume and its pool': {
    volumes: [
      volume('fast', 'a', seen, 'extent_count = 2\ntype = "cache"\ncache_pool = "cpool"\norigin = "fast_corig"'),
      volume(
        'cpool',
        'b',
        hidden,
        'extent_count = 1\ntype = "cache-pool+METADATA_FORMAT"\ndata = "cpool_cdata"\nmetadata = "cpool_cmeta"\nmetadata_format = 2\nchunk_size = 128\ncache_mode = "writeback"\npolicy = "smq"',
      ),
      volume('cpool_cdata', 'c', hidden, striped(1, 4)),
      volume('cpool_cmeta', 'd', hidden, striped(1, 5)),
      volume('fast_corig', 'e', hidden, striped(2, 6)),
    ].join('\n'),
    left: { fast: /cache/, cpool: /cache pool/, fast_corig: /a part of fast/ },
  },
  'a snapshot': {
    volumes: [
      volume('origin', 'a', seen, striped(2, 4)),
      volume('snap', 'b', seen, striped(1, 6)),
      volume(
        'snapshot0',
        'c',
        seen,
        'extent_count = 2\ntype = "snapshot"\nchunk_size = 8\norigin = "origin"\ncow_store = "snap"',
      ),
    ].join('\n'),
    left: { snap: /a snapshot of origin/ },
    kept: { origin: /snap still shows/ },
  },
};
