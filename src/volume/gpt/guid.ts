import { viewOf } from '../../binary/layout.js';
import { efiGuid } from './on-disk.js';

/** The text of a GUID as UEFI stores it, in lower case. */
export function guidText(guid: Uint8Array): string {
  const { TimeLow, TimeMid, TimeHighAndVersion, ClockSeq, Node } = efiGuid.at(viewOf(guid));
  const digits = (value: number, count: number) => value.toString(16).padStart(count, '0');
  const text = (part: Uint8Array) => Buffer.from(part).toString('hex');
  return [digits(TimeLow, 8), digits(TimeMid, 4), digits(TimeHighAndVersion, 4), text(ClockSeq), text(Node)].join('-');
}
