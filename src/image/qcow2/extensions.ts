import { DiskError } from '../../error/disk-error.js';
import { hex } from '../../error/message.js';
import type { NamesInImage } from './features.js';
import {
  bitmapsExtension,
  extensionTypes,
  featureName,
  fullDiskEncryption,
  headerExtension,
  longestBackingFormat,
} from './on-disk.js';
import { nameText } from './text.js';

/** What the header extensions say. */
export interface Extensions {
  readonly backingFormat: string | undefined;
  readonly dataFile: string | undefined;
  readonly bitmapCount: number;
  readonly featureNames: Readonly<Record<'incompatible' | 'compatible' | 'autoclear', NamesInImage>>;
}

const alignment = 8;

/**
 * Reads the header extensions.
 *
 * @param view the first cluster, as far as there is one
 * @param start bytes: where the header ends
 * @param end bytes: where the name of the backing file starts, or the cluster ends
 * @throws {DiskError} CORRUPT when one passes the end, comes twice, or has not the length of its kind
 */
export function readExtensions(view: DataView, start: number, end: number, device: string): Extensions {
  let backingFormat: string | undefined;
  let dataFile: string | undefined;
  let bitmapCount = 0;
  const featureNames = {
    incompatible: new Map<number, string>(),
    compatible: new Map<number, string>(),
    autoclear: new Map<number, string>(),
  };
  const fields = [featureNames.incompatible, featureNames.compatible, featureNames.autoclear];
  const seen = new Set<number>();

  for (let at = start; at + headerExtension.size <= end; ) {
    const { type, length } = headerExtension.at(view, at);
    if (type === extensionTypes.end) break;
    const corrupt = (field: string, actual: string | number, expected: string | number) =>
      DiskError.corrupt({ structure: headerExtension.name, offset: BigInt(at), device, field, actual, expected });
    const data = at + headerExtension.size;
    if (length > end - data) throw corrupt('length', length, `at most ${end - data}`);
    if (seen.has(type) && Object.values<number>(extensionTypes).includes(type)) {
      throw corrupt('type', hex(type), 'each at most once');
    }
    seen.add(type);
    if (type === extensionTypes.backingFormat) {
      if (length > longestBackingFormat)
        throw corrupt('length', length, `at most ${longestBackingFormat}, of a format's name`);
      backingFormat = nameText(view, data, length);
    } else if (type === extensionTypes.dataFile) dataFile = nameText(view, data, length);
    else if (type === extensionTypes.bitmaps) {
      if (length !== bitmapsExtension.size) throw corrupt('length', length, bitmapsExtension.size);
      bitmapCount = bitmapsExtension.at(view, data).nb_bitmaps;
    } else if (type === extensionTypes.fullDiskEncryption) {
      if (length !== fullDiskEncryption.size) throw corrupt('length', length, fullDiskEncryption.size);
    } else if (type === extensionTypes.featureNameTable) {
      for (let entry = data; entry + featureName.size <= data + length; entry += featureName.size) {
        const { type: field, bit } = featureName.at(view, entry);
        const { offset, size } = featureName.fields.name;
        fields[field]?.set(bit, nameText(view, entry + offset, size) ?? '');
      }
    }
    at = data + Math.ceil(length / alignment) * alignment;
  }
  return { backingFormat, dataFile, bitmapCount, featureNames };
}
