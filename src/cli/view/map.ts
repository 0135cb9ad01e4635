import type { Allocation, ImageMap } from '../../task/map.js';

/** An array of one JSON object a line, with the names, order and spelling of `qemu-img map --output=json`. */
export async function* mapAsJson({ format, pieces }: ImageMap): AsyncGenerator<string, void, undefined> {
  // As QEMU does since version 8.2, for formats that can be compressed.
  const compressible = format === 'qcow2';
  let before = '[';
  for await (const { offset, length, depth, present, zero, data, compressed, place } of pieces()) {
    const fields = [
      `"start": ${offset}`,
      `"length": ${length}`,
      `"depth": ${depth}`,
      `"present": ${present}`,
      `"zero": ${zero}`,
      `"data": ${data}`,
      ...(compressible ? [`"compressed": ${compressed}`] : []),
      ...(place === undefined ? [] : [`"offset": ${place}`]),
    ];
    yield `${before}{ ${fields.join(', ')}}`;
    before = ',\n';
  }
  yield before === '[' ? '[]\n' : ']\n';
}

/** Aligned columns with a heading, in bytes: their widths are known before the first piece is. */
export async function* mapAsTable({ size, pieces }: ImageMap): AsyncGenerator<string, void, undefined> {
  const wide = Math.max('Length'.length, `${size}`.length);
  const line = (start: string, length: string, type: string, depth: string, place: string) =>
    `${start.padStart(wide)}  ${length.padStart(wide)}  ${type.padEnd(10)}  ${depth.padStart(5)}  ${place}`.trimEnd();
  yield `${line('Start', 'Length', 'Type', 'Depth', 'Offset')}\n`;
  for await (const piece of pieces()) {
    const { offset, length, depth, present, place } = piece;
    yield `${line(`${offset}`, `${length}`, typeOf(piece), present ? `${depth}` : '-', `${place ?? '-'}`)}\n`;
  }
}

function typeOf({ hole, zero, compressed }: Allocation): string {
  if (hole) return 'hole';
  if (zero) return 'zero';
  return compressed ? 'compressed' : 'data';
}
