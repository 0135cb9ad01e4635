// A guest disk as it looks after some use: a Linux system's own files, deleted data, every block written once.

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { sh } from './measure.mjs';

const MiB = 1 << 20;
export const rootOffset = MiB;

/**
 * Makes a GPT disk with one ext4 filesystem: up to `kept` bytes of this machine's /usr, and `deleted` bytes of random
 * data that was removed again.
 */
export function makeGuestDisk(folder, { size = 4096 * MiB, kept = 1200 * MiB, deleted = 1536 * MiB } = {}) {
  const image = join(folder, 'guest.img');
  const tree = join(folder, 'tree');
  mkdirSync(join(tree, 'deleted'), { recursive: true });
  copyUpTo(tree, kept);
  const garbage = randomBytes(16 * MiB);
  for (let at = 0, i = 0; at < deleted; at += 64 * MiB, i++)
    fill(join(tree, 'deleted', `file-${i}`), 64 * MiB, garbage);
  fill(image, size, Buffer.alloc(16 * MiB));
  const start = openSync(image, 'r+');
  writeSync(start, Buffer.alloc(MiB), 0, MiB, 0);
  closeSync(start);
  const rootSize = size - rootOffset - MiB;
  sh(`printf 'label: gpt\\nstart=1MiB, size=${rootSize / MiB}MiB, type=linux\\n' | sfdisk --quiet ${image}`);
  sh(`mke2fs -q -F -t ext4 -d ${tree} -E offset=${rootOffset},nodiscard ${image} ${rootSize / 1024}k`);
  rmSync(tree, { recursive: true });
  const removals = Array.from({ length: Math.ceil(deleted / (64 * MiB)) }, (_, i) => `rm /deleted/file-${i}`).join(
    '\n',
  );
  sh(`printf '%s\\n' '${removals}' | debugfs -w -f /dev/stdin '${image}?offset=${rootOffset}'`);
  return { image, rootSize };
}

/** Copies parts of /usr until they add up. */
function copyUpTo(tree, kept) {
  let room = kept;
  for (const part of [
    'bin',
    'sbin',
    'share',
    'include',
    'lib/python3',
    'lib/x86_64-linux-gnu',
    'lib/git-core',
    'lib/gcc',
    'local/lib',
    'lib/modules',
  ]) {
    const source = join('/usr', part);
    const bytes = diskUsage(source);
    if (bytes === 0 || bytes > room) continue;
    sh(`mkdir -p ${join(tree, part)} && cp -a ${source}/. ${join(tree, part)}/`);
    room -= bytes;
  }
}

function diskUsage(path) {
  const { status, stdout } = spawnSync('du', ['-sx', '--block-size=1', path], { encoding: 'utf8' });
  return status === 0 ? Number.parseInt(stdout, 10) : 0;
}

/** Writes a file of `size` bytes, piece by piece. */
export function fill(path, size, pattern) {
  const fd = openSync(path, 'w');
  for (let at = 0; at < size; at += pattern.length) {
    // Each piece of random data its own, so that nothing deduplicates or compresses it away.
    if (pattern[4] !== 0) pattern.writeUInt32LE((at / pattern.length) >>> 0, 0);
    writeSync(fd, pattern, 0, Math.min(pattern.length, size - at), at);
  }
  closeSync(fd);
}

export function allocated(path) {
  return statSync(path).blocks * 512;
}
