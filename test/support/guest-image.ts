import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './run.js';
import { temporaryFolder } from './temporary.js';

const mebibyte = 1024 * 1024;

export const guestUuids = {
  root: '11111111-2222-3333-4444-555555555555',
  swap: '66666666-7777-8888-9999-aaaaaaaaaaaa',
} as const;

/**
 * A disk of 64 MiB: an ext4 of 32 MiB labelled `root`, swap of 8 MiB labelled `swp`, an empty partition of 4 MiB; by
 * sfdisk, mke2fs and mkswap.
 */
export async function guestImage(label: 'gpt' | 'dos' = 'gpt'): Promise<string> {
  const path = join(await temporaryFolder(), 'guest.img');
  await writeFile(path, '');
  await truncate(path, 64 * mebibyte);
  const name = (text: string) => (label === 'gpt' ? `, name=${text}` : '');
  const script = [
    `label: ${label}`,
    `start=1MiB, size=32MiB, type=linux${name('"the root"')}`,
    `start=34MiB, size=8MiB, type=swap${name('swap')}`,
    `start=44MiB, size=4MiB, type=linux${name('spare')}`,
  ];
  await run('sfdisk', ['-q', path], { stdin: 'pipe', input: script.join('\n') });
  await run('mke2fs', [...'-Fqt ext4 -L root -U'.split(' '), guestUuids.root, '-E', `offset=${mebibyte}`, path, '32M']);
  await run('mkswap', ['-q', '-L', 'swp', '-U', guestUuids.swap, '-o', String(34 * mebibyte), path, '8192']).catch(() =>
    swapByCopy(path),
  );
  return path;
}

/** mkswap before util-linux 2.40 knows no offset. */
async function swapByCopy(path: string): Promise<void> {
  const swap = `${path}.swap`;
  await writeFile(swap, '', { mode: 0o600 });
  await truncate(swap, 8 * mebibyte);
  await run('mkswap', ['-q', '-L', 'swp', '-U', guestUuids.swap, swap]);
  await run('dd', [`if=${swap}`, `of=${path}`, 'bs=1M', 'seek=34', 'conv=notrunc', 'status=none']);
}
