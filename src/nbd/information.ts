import { viewOf } from '../binary/layout.js';
import { type Export, sizeConstraints } from './export.js';
import { count16, infoBlockSize, infoExport, information, infoString, length32, longestString } from './on-wire.js';

/** The options INFO and GO: what is asked, and what is told. */

export interface InformationRequest {
  readonly name: string;
  /** Information types, known or not. */
  readonly wanted: ReadonlySet<number>;
}

/** The data of INFO or GO, or undefined when its lengths contradict each other. */
export function parseInformationRequest(data: Buffer): InformationRequest | undefined {
  if (data.length < length32.size + count16.size) return undefined;
  const view = viewOf(data);
  const { length } = length32.at(view);
  const nameEnd = length32.size + length;
  if (length > longestString || nameEnd + count16.size > data.length) return undefined;
  const { count } = count16.at(view, nameEnd);
  const listStart = nameEnd + count16.size;
  if (listStart + count * count16.size !== data.length) return undefined;
  const wanted = new Set<number>();
  for (let i = 0; i < count; i++) wanted.add(count16.at(view, listStart + i * count16.size).count);
  return { name: data.toString('utf8', length32.size, nameEnd), wanted };
}

/** The data of each INFO reply. */
export function exportInformation(exported: Export, flags: number, wanted: ReadonlySet<number>): Buffer[] {
  const { device, name, description } = exported;
  const first = Buffer.alloc(infoExport.size);
  infoExport.put(viewOf(first), { type: information.EXPORT, size: device.facts.size, transmission_flags: flags });
  const items: Buffer[] = [first];
  if (wanted.has(information.NAME)) items.push(text(information.NAME, name));
  if (wanted.has(information.DESCRIPTION)) items.push(text(information.DESCRIPTION, description));
  const constraints = sizeConstraints(device);
  // "MUST do so" where the constraints are not the default ones.
  if (wanted.has(information.BLOCK_SIZE) || constraints.minimum > 1) {
    const item = Buffer.alloc(infoBlockSize.size);
    infoBlockSize.put(viewOf(item), { type: information.BLOCK_SIZE, ...constraints });
    items.push(item);
  }
  return items;
}

function text(type: number, value: string): Buffer {
  const head = Buffer.alloc(infoString.size);
  infoString.put(viewOf(head), { type });
  return Buffer.concat([head, Buffer.from(value)]);
}
