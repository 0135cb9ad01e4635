import { isZero } from '../../binary/zeros.js';
import type { BlockDevice, RequestOptions } from '../../device/block-device.js';
import { DiskError } from '../../error/disk-error.js';
import { vhdCookie } from '../on-disk.js';
import { vhdDynamicCookie, vhdDynamicHeader, vhdFooter, vhdTypes } from './on-disk.js';
import { type Others, structureAt, wrongMagic } from './others.js';

/** Whether a VHD image has a parent, by its footer and by the copy of it. */
export async function vhdOthers(file: BlockDevice, options: RequestOptions): Promise<Others> {
  const end = file.facts.size - BigInt(vhdFooter.size);
  const copy = vhdFooter.at(await structureAt(file, vhdFooter, 0n, options));
  const footer = vhdFooter.at(await structureAt(file, vhdFooter, end, options));
  const found = [copy, footer].filter(({ cookie }) => cookie === vhdCookie);
  if (found.length === 0) throw wrongMagic(file, vhdFooter.name, 'cookie', footer.cookie, vhdCookie);
  for (const { disk_type: type, data_offset: offset } of found) {
    if (type === vhdTypes.fixed) continue;
    // No parent's name is looked for where the type says that there is one.
    if (type !== vhdTypes.dynamic) return { parent: 'a parent' };
    const header = vhdDynamicHeader.at(await structureAt(file, vhdDynamicHeader, offset, options));
    if (header.cookie !== vhdDynamicCookie) {
      const field = 'cookie';
      const [actual, expected] = [JSON.stringify(header.cookie), JSON.stringify(vhdDynamicCookie)];
      throw DiskError.corrupt({ structure: vhdDynamicHeader.name, offset, device: file.name, field, actual, expected });
    }
    const { parent_unicode_name: name, parent_unique_id: id, parent_locators: locators } = header;
    if (!isZero(name) || !isZero(id) || !isZero(locators)) return { parent: 'a parent' };
  }
  return {};
}
