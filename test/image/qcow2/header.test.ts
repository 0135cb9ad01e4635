import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { viewOf } from '../../../src/binary/layout.js';
import {
  bitmapsExtension,
  extensionTypes,
  featureName,
  headerExtension,
  qcow2AdditionalFields,
  qcow2Header,
  qcow2Header3,
} from '../../../src/image/qcow2/on-disk.js';
import { openQcow2, type Qcow2Header, readQcow2Header } from '../../../src/image/qcow2/qcow2.js';
import { needs } from '../../support/needs.js';
import { buildQcow2, deviceOf } from '../../support/qcow2-builder.js';
import { qemuIo } from '../../support/qcow2-image.js';
import { run } from '../../support/run.js';
import { sourceDevice } from '../../support/source-device.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io'] });

interface Info {
  'virtual-size': number;
  'cluster-size': number;
  'dirty-flag': boolean;
  'backing-filename'?: string;
  'backing-filename-format'?: string;
  snapshots?: unknown[];
  'format-specific': { data: Record<string, unknown> };
}

/** The header of an image in a file, and what qemu-img info says of it. */
async function both(path: string): Promise<{ header: Qcow2Header; info: Info }> {
  await using file = sourceDevice(path);
  const info: Info = JSON.parse(await run('qemu-img', ['info', '-U', '--output=json', path]));
  return { header: await readQcow2Header(file), info };
}

const kinds: Record<string, string[]> = {
  'version 2': ['-o', 'compat=0.10'],
  'version 3': [],
  'small clusters, wide refcounts': ['-o', 'cluster_size=512,refcount_bits=64'],
  'large clusters, narrow refcounts': ['-o', 'cluster_size=2M,refcount_bits=1'],
  'lazy refcounts': ['-o', 'lazy_refcounts=on'],
  'zstd, extended L2 entries': ['-o', 'compression_type=zstd,extended_l2=on'],
  'a backing file': ['-b', 'below.img', '-F', 'raw'],
  'a backing file of version 2': ['-b', 'below.img', '-F', 'raw', '-o', 'compat=0.10'],
  'a data file': ['-o', 'data_file=data.img'],
  'a raw data file': ['-o', 'data_file=data.img,data_file_raw=on'],
};
for (const [title, options] of Object.entries(kinds)) {
  it(`says of an image what qemu-img info says: ${title}`, async () => {
    const folder = await temporaryFolder();
    const path = join(folder, 'a.qcow2');
    await run('qemu-img', ['create', '-q', '-f', 'raw', join(folder, 'below.img'), '1M']);
    const create = [
      'create',
      '-q',
      '-f',
      'qcow2',
      ...options.map((option) => option.replace('data.img', `${folder}/d`)),
    ];
    await run('qemu-img', [...create, 'a.qcow2', '3M'], { cwd: folder });
    if (!title.includes('data')) await run('qemu-img', ['snapshot', '-c', 'one', path]);
    const { header, info } = await both(path);
    const { data } = info['format-specific'];
    expect({
      size: Number(header.size),
      clusterSize: header.clusterSize,
      dirty: header.dirty,
      backing: header.backingFile,
      backingFormat: header.backingFormat,
      snapshots: header.snapshotCount,
      compat: header.version === 2 ? '0.10' : '1.1',
      compression: header.compression,
      lazy: header.lazyRefcounts,
      refcountBits: header.refcountBits,
      corrupt: header.corrupt,
      extendedL2: header.extendedL2,
      dataFile: header.dataFile?.name,
      dataFileRaw: header.dataFile?.raw,
    }).toEqual({
      size: info['virtual-size'],
      clusterSize: info['cluster-size'],
      dirty: info['dirty-flag'],
      backing: info['backing-filename'],
      backingFormat: info['backing-filename-format'],
      snapshots: info.snapshots?.length ?? 0,
      compat: data.compat,
      compression: data['compression-type'],
      lazy: data['lazy-refcounts'] ?? false,
      refcountBits: data['refcount-bits'],
      corrupt: data.corrupt ?? false,
      extendedL2: data['extended-l2'] ?? false,
      dataFile: data['data-file'],
      dataFileRaw: data['data-file-raw'],
    });
    expect(header.encryption).toBe('none');
  });
}

it('counts bitmaps', async () => {
  const path = join(await temporaryFolder(), 'a.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', path, '1M']);
  for (const name of ['one', 'two']) await run('qemu-img', ['bitmap', '--add', path, name]);
  const { header } = await both(path);
  expect(header.bitmapCount).toBe(2);
  expect(header.features.autoclear).toEqual(['bitmaps']);
});

const refusedAs = (method: string) => ({
  code: 'UNSUPPORTED',
  message: expect.stringMatching(`crypt_method is ${method}, expected none: disktool reads no encrypted images`),
});

it('tells of encryption by AES, and does not open it', async () => {
  const path = join(await temporaryFolder(), 'a.qcow2');
  const secret = ['--object', 'secret,id=secret,data=secret'];
  const encrypt = ['-o', 'encrypt.format=aes,encrypt.key-secret=secret'];
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...secret, ...encrypt, path, '1M']);
  await using file = sourceDevice(path);
  expect((await readQcow2Header(file)).encryption).toBe('AES');
  await expect(openQcow2(file)).rejects.toMatchObject(refusedAs('AES'));
});

it('reads an image that is marked as dirty and as corrupt, and says so', async () => {
  const path = join(await temporaryFolder(), 'a.qcow2');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', path, '1M']);
  await qemuIo(path, ['write -P 7 0 64k']);
  const bytes = await readFile(path);
  qcow2Header3.put(viewOf(bytes), { incompatible_features: 3n });
  await using device = await openQcow2(await deviceOf(bytes));
  expect(device.header).toMatchObject({ dirty: true, corrupt: true });
  expect(device.header.features.incompatible).toEqual(['dirty bit', 'corrupt bit']);
  const found = new Uint8Array(4);
  await device.read(found, 65532n);
  expect([...found]).toEqual([7, 7, 7, 7]);
});

const good = buildQcow2([{ data: new Uint8Array(512).fill(7) }, 'unallocated', 'zero'], 1536).file;

function headerOf(bytes: Uint8Array): Promise<Qcow2Header> {
  return deviceOf(bytes, 'a.img').then(async (device) => {
    await using _ = device;
    return await readQcow2Header(device);
  });
}

function changed(change: (view: DataView) => void): Uint8Array {
  const bytes = Uint8Array.from(good);
  change(viewOf(bytes));
  return bytes;
}

/** One extension behind the header, and the end of them. */
function withExtension(type: number, data: Uint8Array, length = data.length): (view: DataView) => void {
  return (view) => {
    headerExtension.put(view, { type, length }, 104);
    for (const [i, byte] of data.entries()) view.setUint8(112 + i, byte);
  };
}

type Values = Parameters<typeof qcow2Header.put>[1];
type Values3 = Parameters<typeof qcow2Header3.put>[1];
const first = (values: Values) => (view: DataView) => qcow2Header.put(view, values);
const third = (values: Values3) => (view: DataView) => qcow2Header3.put(view, values);

const damages: [what: string, change: (view: DataView) => void, code: string, told: RegExp][] = [
  [
    'magic',
    first({ magic: 'QFI' }),
    'CORRUPT',
    /^a\.img: is no qcow2 image, by its first bytes: disktool info says what it is$/,
  ],
  ['version', first({ version: 4 }), 'UNSUPPORTED', /version is 4, expected 2 or 3/],
  ['cluster_bits', first({ cluster_bits: 8 }), 'CORRUPT', /cluster_bits is 8, expected 9 to 21/],
  ['cluster_bits', first({ cluster_bits: 22 }), 'UNSUPPORTED', /cluster_bits is 22, expected 9 to 21/],
  ['size', first({ size: 1n << 40n }), 'UNSUPPORTED', /size is 1099511627776, expected at most 137438953472/],
  ['size', first({ size: 1n << 63n }), 'CORRUPT', /size is 9223372036854775808, expected below 2\^63/],
  ['size', first({ size: 32769n }), 'CORRUPT', /l1_size is 1, expected at least 2, for 32769 bytes/],
  ['crypt_method', first({ crypt_method: 3 }), 'UNSUPPORTED', /crypt_method is 3/],
  ['l1_size', first({ l1_size: 0 }), 'CORRUPT', /l1_size is 0, expected at least 1/],
  ['l1_size', first({ l1_size: 1 << 23 }), 'UNSUPPORTED', /l1_size is 8388608, expected at most 4194304/],
  ['l1_size', first({ l1_size: 400 }), 'CORRUPT', /l1_table_offset is 0x200, expected a table of 400 entries inside/],
  ['l1_table_offset', first({ l1_table_offset: 520n }), 'CORRUPT', /l1_table_offset is 0x208, expected a multiple of/],
  [
    'l1_table_offset',
    first({ l1_table_offset: 0n }),
    'CORRUPT',
    /l1_table_offset is 0x0, expected a multiple of 512, a/,
  ],
  [
    'l1_table_offset',
    first({ l1_table_offset: 1n << 62n }),
    'CORRUPT',
    /expected a table of 1 entries inside the file/,
  ],
  ['nb_snapshots', first({ nb_snapshots: 65537 }), 'UNSUPPORTED', /nb_snapshots is 65537, expected at most 65536/],
  ['snapshots_offset', first({ nb_snapshots: 1 }), 'CORRUPT', /snapshots_offset is 0x0, expected a multiple of 512/],
  [
    'snapshots_offset',
    first({ nb_snapshots: 1, snapshots_offset: 1n << 40n }),
    'CORRUPT',
    /snapshots_offset is 0x10000000000, expected 1 snapshots inside the file of/,
  ],
  [
    'backing_file_offset',
    first({ backing_file_offset: 513n }),
    'CORRUPT',
    /backing_file_offset is 0x201, expected 0, or 72 to 512/,
  ],
  [
    'backing_file_size',
    first({ backing_file_offset: 500n, backing_file_size: 13 }),
    'CORRUPT',
    /backing_file_size is 13, expected at most 12/,
  ],
  ['header_length', third({ header_length: 96 }), 'CORRUPT', /header_length is 96, expected a multiple of 8 from 104/],
  ['header_length', third({ header_length: 106 }), 'CORRUPT', /header_length is 106/],
  ['header_length', third({ header_length: 520 }), 'CORRUPT', /header_length is 520.* to 512/],
  ['refcount_order', third({ refcount_order: 7 }), 'CORRUPT', /refcount_order is 7, expected 0 to 6/],
  [
    'compression_type',
    third({ incompatible_features: 8n }),
    'CORRUPT',
    /compression_type is 0, expected another than 0, as incompatible_features say/,
  ],
  [
    'compression_type',
    (view) => {
      qcow2Header3.put(view, { header_length: 112 });
      qcow2AdditionalFields.put(view, { compression_type: 1 });
    },
    'CORRUPT',
    /compression_type is 1, expected 0/,
  ],
  [
    'compression_type',
    (view) => {
      qcow2Header3.put(view, { header_length: 112, incompatible_features: 8n });
      qcow2AdditionalFields.put(view, { compression_type: 2 });
    },
    'UNSUPPORTED',
    /compression_type is 2, expected 0 \(zlib\) or 1 \(zstd\)/,
  ],
  [
    'incompatible_features',
    third({ incompatible_features: 16n }),
    'CORRUPT',
    /cluster_bits is 9, expected 14 to 21, for its extended L2 entries/,
  ],
  [
    'autoclear_features',
    third({ autoclear_features: 2n }),
    'CORRUPT',
    /autoclear_features is raw external data, expected no such thing without an external data file/,
  ],
  [
    'the length of an extension',
    withExtension(1, new Uint8Array(0), 401),
    'CORRUPT',
    /^qcow2 header extension at byte 0x68 of a\.img: length is 401, expected at most 400/,
  ],
  [
    'the length of a format',
    withExtension(extensionTypes.backingFormat, new Uint8Array(16).fill(65)),
    'CORRUPT',
    /length is 16, expected at most 15/,
  ],
  [
    'the length of the bitmaps extension',
    withExtension(extensionTypes.bitmaps, new Uint8Array(bitmapsExtension.size - 1)),
    'CORRUPT',
    /length is 23, expected 24/,
  ],
  [
    'the length of the encryption header pointer',
    withExtension(extensionTypes.fullDiskEncryption, new Uint8Array(8)),
    'CORRUPT',
    /length is 8, expected 16/,
  ],
  [
    'an extension that comes twice',
    (view) => {
      withExtension(extensionTypes.dataFile, Buffer.from('a.img\0\0\0'))(view);
      headerExtension.put(view, { type: extensionTypes.dataFile, length: 4 }, 120);
    },
    'CORRUPT',
    /at byte 0x78 .*type is 0x44415441, expected each at most once/,
  ],
];
for (const [what, change, code, message] of damages) {
  test(`refuses a header with a wrong ${what}: ${String(message).slice(1, 60)}`, async () => {
    await expect(headerOf(changed(change))).rejects.toMatchObject({
      name: 'DiskError',
      code,
      message: expect.stringMatching(message),
    });
  });
}

// qemu-img makes no such image on a busy machine, since it measures first how fast it is.
test('tells of encryption by LUKS, and does not open it', async () => {
  const bytes = changed((view) => {
    qcow2Header.put(view, { crypt_method: 2 });
    withExtension(extensionTypes.fullDiskEncryption, new Uint8Array(16))(view);
  });
  expect((await headerOf(bytes)).encryption).toBe('LUKS');
  await expect(openQcow2(await deviceOf(bytes))).rejects.toMatchObject(refusedAs('LUKS'));
});

test('refuses a file that ends in the header', async () => {
  for (const length of [0, 4, 71]) {
    const found = headerOf(good.subarray(0, length));
    await expect(found).rejects.toMatchObject({ code: 'CORRUPT', facts: { field: 'file size' } });
  }
  await expect(headerOf(good.subarray(0, 103))).rejects.toMatchObject({ facts: { field: 'header_length' } });
});

test('refuses incompatible features that it does not know, by the names that the image has for them', async () => {
  const table = new Uint8Array(2 * featureName.size);
  const name = (text: string) => Buffer.from(text.padEnd(46, '\0'));
  featureName.put(viewOf(table), { type: 0, bit: 40, name: name('teleportation') });
  featureName.put(viewOf(table), { type: 1, bit: 41, name: name('compatible, and so another') }, featureName.size);
  const bytes = changed((view) => {
    withExtension(extensionTypes.featureNameTable, table)(view);
    qcow2Header3.put(view, { incompatible_features: (1n << 40n) | (1n << 41n) | 1n });
  });
  await expect(headerOf(bytes)).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringMatching(
      /incompatible_features is teleportation \(bit 40\), bit 41, expected none of those: a newer program/,
    ),
  });
});

test('names compatible features that it does not know, and reads on', async () => {
  const bytes = changed(third({ compatible_features: 1n | (1n << 63n), autoclear_features: 4n }));
  expect((await headerOf(bytes)).features).toEqual({
    incompatible: [],
    compatible: ['lazy refcounts', 'bit 63'],
    autoclear: ['bit 2'],
  });
});

test('passes over extensions that it does not know', async () => {
  const bytes = changed((view) => {
    withExtension(0x1234_5678, Buffer.from('12345'))(view);
    headerExtension.put(view, { type: extensionTypes.backingFormat, length: 3 }, 120);
    for (const [i, byte] of Buffer.from('raw').entries()) view.setUint8(128 + i, byte);
  });
  expect((await headerOf(bytes)).backingFormat).toBe('raw');
});

test('ends the name of a backing file at its first NUL, as QEMU does', async () => {
  const named = (name: string) =>
    changed((view) => {
      qcow2Header.put(view, { backing_file_offset: 480n, backing_file_size: name.length });
      for (const [i, byte] of Buffer.from(name, 'latin1').entries()) view.setUint8(480 + i, byte);
    });
  expect((await headerOf(named('b.img'))).backingFile).toBe('b.img');
  expect((await headerOf(named('b.img\0/etc/passwd'))).backingFile).toBe('b.img');
  expect((await headerOf(named('\0'))).backingFile).toBeUndefined();
  expect((await headerOf(named(''))).backingFile).toBeUndefined();
});
