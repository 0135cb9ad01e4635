import { memoryDevice } from '../../src/device/memory-device.js';
import type { DirectoryEntry, FileAttributes, FileObject, FileType } from '../../src/filesystem/file.js';

const attributes: FileAttributes = {
  mode: 0o644,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  size: 4n,
  links: 1,
  allocated: 0n,
  atimeNs: 0n,
  mtimeNs: 0n,
  ctimeNs: 0n,
};

let nextId = 1n;

/** What a filesystem of the worst kind could show: any names, in any order, as often as it likes. */
export function object(
  type: FileType,
  parts: { entries?: readonly (readonly [string, FileObject])[]; target?: string; links?: number; id?: bigint } = {},
): FileObject {
  const { entries = [], target = '', links = 1, id = nextId++ } = parts;
  const listed = entries.map(
    ([name, file]): DirectoryEntry => ({ name: Buffer.from(name), id: file.id, open: () => Promise.resolve(file) }),
  );
  return {
    id,
    type,
    attributes: { ...attributes, links, mode: type === 'directory' ? 0o755 : 0o644 },
    xattrs: () => Promise.resolve([]),
    linkTarget: () => Promise.resolve(Buffer.from(target)),
    content: async () => {
      const device = memoryDevice(4n);
      await device.write(Buffer.from('evil'), 0n);
      return device;
    },
    async *entries() {
      yield* listed;
    },
    find: (name) => Promise.resolve(listed.find((entry) => entry.name.equals(name))),
    async *fileMap() {},
  };
}
