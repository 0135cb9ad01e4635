import type { DiskExtent, FileOnDisk } from '../../task/block-map/file-extents.js';
import { toJsonLine } from '../json.js';
import { printable } from '../printable.js';

/** As `filefrag -v` lays it out, in bytes and on the disk: their widths are known before the first extent is. */
export async function* extentsAsTable({
  device,
  path,
  type,
  id,
  size,
  extents,
}: FileOnDisk): AsyncGenerator<string, void, undefined> {
  yield `${printable(path)} of ${device}: ${type}, inode ${id}, ${size} bytes\n`;
  let number = 0;
  for await (const extent of extents()) {
    if (number === 0) yield line('Ext', 'In file', 'On disk', 'Length', 'Flags');
    const { role, fileOffset, diskOffset, length } = extent;
    yield line(`${number++}`, role === 'metadata' ? '-' : `${fileOffset}`, `${diskOffset}`, `${length}`, flags(extent));
  }
  yield `${number} ${number === 1 ? 'extent' : 'extents'}\n`;
}

function line(number: string, inFile: string, onDisk: string, length: string, rest: string): string {
  const columns = [number.padStart(5), inFile.padStart(15), onDisk.padStart(15), length.padStart(12), rest];
  return `${columns.join('  ').trimEnd()}\n`;
}

function flags({ role, unwritten, inline, encoded }: DiskExtent): string {
  const all = [role === 'metadata' && 'metadata', unwritten && 'unwritten', inline && 'inline', encoded && 'encoded'];
  return all.filter((flag) => flag !== false).join(',');
}

/** One document, a line an extent. */
export async function* extentsAsJson(file: FileOnDisk): AsyncGenerator<string, void, undefined> {
  const { device, path, type, id: inode, size, extents } = file;
  const head = toJsonLine({ device, path, type, inode, size });
  let before = `{\n  ${head.slice(1, -1)},\n  "extents": [`;
  for await (const { diskOffset, fileOffset, length, offset: deviceOffset, role, ...flags } of extents()) {
    const { unwritten, inline, encoded } = flags;
    const place = role === 'metadata' ? {} : { fileOffset };
    yield `${before}\n    ${toJsonLine({ role, ...place, diskOffset, deviceOffset, length, unwritten, inline, encoded })}`;
    before = ',';
  }
  yield before === ',' ? '\n  ]\n}\n' : `${before}]\n}\n`;
}
