import { closeSync, openSync } from 'node:fs';
import { bytes, layout, u8, u32, viewOf } from '../../src/binary/layout.js';
import { call } from '../../src/host/libc.js';

/** Documentation/filesystems/fscrypt.rst: FS_IOC_ADD_ENCRYPTION_KEY and FS_IOC_SET_ENCRYPTION_POLICY. */
const FS_IOC_ADD_ENCRYPTION_KEY = 0xc0506617;
const FS_IOC_SET_ENCRYPTION_POLICY = 0x800c6613;

const keySize = 64;
const addKey = layout(
  'fscrypt_add_key_arg',
  { size: 80 + keySize, endian: 'little', spec: 'linux/fscrypt.h' },
  {
    type: u32(0, 'enum', '2: the kernel names it'),
    identifier: bytes(8, 16, 'bytes', 'the name that it gets'),
    raw_size: u32(40, 'bytes', 'of the key'),
    raw: bytes(80, keySize, 'bytes', 'the key'),
  },
);
const policy = layout(
  'fscrypt_policy_v2',
  { size: 24, endian: 'little', spec: 'linux/fscrypt.h' },
  {
    version: u8(0, 'version', '2'),
    contents_encryption_mode: u8(1, 'enum', '1: AES-256-XTS'),
    filenames_encryption_mode: u8(2, 'enum', '4: AES-256-CTS'),
    flags: u8(3, 'flags', '3: names are padded to 32 bytes'),
    master_key_identifier: bytes(8, 16, 'bytes', 'of the key'),
  },
);

/** Has an empty folder of a mounted filesystem encrypted from now on, by a key that the filesystem forgets when it goes. */
export function encryptFolder(path: string): void {
  const key = viewOf(new Uint8Array(addKey.size));
  addKey.put(key, { type: 2, raw_size: keySize, raw: new Uint8Array(keySize).fill(7) });
  const fd = openSync(path, 'r');
  try {
    call('ioctl', 'to add a key', fd, FS_IOC_ADD_ENCRYPTION_KEY, Buffer.from(key.buffer));
    const rules = viewOf(new Uint8Array(policy.size));
    policy.put(rules, {
      version: 2,
      contents_encryption_mode: 1,
      filenames_encryption_mode: 4,
      flags: 3,
      master_key_identifier: addKey.at(key).identifier,
    });
    call('ioctl', 'to encrypt a folder', fd, FS_IOC_SET_ENCRYPTION_POLICY, Buffer.from(rules.buffer));
  } finally {
    closeSync(fd);
  }
}
