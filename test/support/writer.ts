import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { hold } from './hold.js';

/** Files that are written, synced, replaced and deleted, one after another, closed before they are unlinked. */
const script = `import itertools, os, sys
folder = sys.argv[1]
for i in itertools.count():
    path = f"{folder}/file{i % 150}"
    with open(path + ".new", "wb") as file:
        file.write(os.urandom(4096 * (1 + i % 16)))
        if i % 5 == 0:
            file.flush()
            os.fsync(file.fileno())
    os.rename(path + ".new", path)
    victim = f"{folder}/file{i * 7 % 150}"
    if i % 3 == 0 and os.path.exists(victim):
        os.unlink(victim)
    if i == 150:
        open(f"{folder}/up", "w").close()
`;

/** Keeps writing to a folder until it is ended, or the test is. */
export function writeUnceasingly(folder: string): ReturnType<typeof hold> {
  return hold('/usr/bin/python3', ['-c', script, folder], () => existsSync(join(folder, 'up')));
}
