import { cp, mkdir, realpath, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from './run.js';

const MiB = 1 << 20;

/** Programs that {@link guestRoot} needs. */
export const guestRootPrograms = ['sfdisk', 'mke2fs'] as const;

export interface GuestRoot {
  readonly image: string;
  /** Where each shared library that a program of the guest is linked to really lies in the guest. */
  readonly libraries: (program: string) => readonly string[];
}

/**
 * A GPT disk with an ext4 on its first partition, that holds programs of this machine (path in the guest -> path here),
 * the libraries that they are linked to, and files (path -> content).
 */
export async function guestRoot(
  folder: string,
  programs: Readonly<Record<string, string>>,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<GuestRoot> {
  const tree = join(folder, 'root');
  const at = async (path: string) => {
    await mkdir(join(tree, dirname(path)), { recursive: true });
    return join(tree, path);
  };
  for (const directory of ['dev', 'proc', 'sys', 'run', 'usr/lib', 'usr/lib64'])
    await mkdir(join(tree, directory), { recursive: true });
  // As Debian has it since everything is in /usr.
  for (const directory of ['lib', 'lib64']) await symlink(`usr/${directory}`, join(tree, directory));
  const libraries = new Map<string, string[]>();
  for (const [path, program] of Object.entries(programs)) {
    await cp(await realpath(program), await at(path));
    const found: string[] = [];
    for (const library of await linkedTo(program)) {
      const real = await realpath(library);
      found.push(real);
      await cp(real, await at(real));
      const inUsr = library.replace(/^\/lib/, '/usr/lib');
      if (inUsr !== real) await run('ln', ['-sf', real, await at(inUsr)]);
    }
    libraries.set(path, found);
  }
  for (const [path, content] of Object.entries(files)) await writeFile(await at(path), content);

  const image = join(folder, 'guest.img');
  await writeFile(image, '');
  await truncate(image, 64 * MiB);
  await run('sfdisk', ['--quiet', image], { stdin: 'pipe', input: 'label: gpt\nstart=1MiB, type=linux\n' });
  await run('mke2fs', ['-Fqt', 'ext4', '-b', '4096', '-d', tree, '-E', `offset=${MiB},root_owner=0:0`, image, '62M']);
  return { image, libraries: (program) => libraries.get(program) ?? [] };
}

/** The dynamic linker and the libraries of a program, as the linker itself finds them. */
async function linkedTo(program: string): Promise<string[]> {
  return [...(await run('ldd', [program])).matchAll(/(?:^|\s)(\/\S+) \(0x/g)].map(([, path = '']) => path);
}
