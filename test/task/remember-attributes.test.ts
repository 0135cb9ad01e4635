import { chmod, chown, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { needs } from '../support/needs.js';
import { attempt, disktoolPath } from '../support/run.js';
import { temporaryFolder } from '../support/temporary.js';

const it = needs({ root: true });
const owner = 1234;
/** Root without its right over other people's files: it still writes to them. */
const withoutFowner = ['--bounding-set', '-fowner', '--inh-caps', '-fowner'];

for (const verb of ['sparsify', 'zerofill']) {
  it(`lets ${verb} succeed for a user who may write to the image and not set its times`, async () => {
    const image = join(await temporaryFolder(), 'a.img');
    await writeFile(image, Buffer.alloc(1 << 20));
    await chown(image, owner, owner);
    await chmod(image, 0o666);
    const { status, stderr } = await attempt('setpriv', [
      ...withoutFowner,
      process.execPath,
      disktoolPath,
      verb,
      image,
    ]);
    expect({ status, stderr }).toMatchObject({
      status: 0,
      stderr: expect.stringContaining('a.img: its times are not kept (EPERM): only its owner and root may set them'),
    });
    expect((await stat(image)).mode & 0o777).toBe(0o666);
  });
}
