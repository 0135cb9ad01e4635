import { expect } from 'vitest';
import { needs } from '../../support/needs.js';
import {
  allBytes,
  convertedBytes,
  mappedExtents,
  opened,
  ownExtents,
  ownMap,
  qemuMap,
} from '../../support/qcow2-image.js';
import { makeVariant, qcow2Variants } from '../../support/qcow2-variants.js';

const it = needs({ programs: ['qemu-img', 'qemu-io'] });

for (const title of qcow2Variants) {
  it(`reads what qemu-img reads, and maps it as qemu-img: ${title}`, async () => {
    const path = await makeVariant(title);
    const device = await opened(path);
    expect(Buffer.compare(await allBytes(device), await convertedBytes(path))).toBe(0);
    expect(await ownExtents(device)).toEqual(await mappedExtents(path));
    expect(await ownMap(device)).toEqual(await qemuMap(path));
  });
}
