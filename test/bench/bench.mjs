// disktool beside the peers that are installed, in one run: `npm run bench [-- sparsify|copy|download …]`.
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { allocated, makeGuestDisk, rootOffset } from './guest-disk.mjs';
import { compare, has, sh } from './measure.mjs';

const wanted = process.argv.slice(2);
const rounds = Number(process.env.BENCH_ROUNDS ?? 5);
const folder = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'disktool-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

const disktool = `${process.execPath} ${fileURLToPath(new URL('../../bin/run.js', import.meta.url))}`;
const out = join(folder, 'out.img');
const work = join(folder, 'work.img');
const [cpu] = cpus();
console.log(
  `${cpu?.model ?? 'unknown processor'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
);
console.log('making the guest disk: 4 GiB, ext4, every block written, 1.5 GiB of it deleted files');
const { image, rootSize } = makeGuestDisk(folder);
sh(`sync ${image}; cat ${image} > /dev/null`);

/**
 * Nobody pays for what the one before left to be written. And all find memory in the same state: where this machine is a
 * guest, its host takes freed pages back within seconds, and each costs a fault when it is used again.
 */
function freshOutput() {
  rmSync(out, { force: true });
  sh('sync; sleep 4');
}

const suites = { metadata, sparsify, copy, download };
for (const [name, run] of Object.entries(suites)) if (wanted.length === 0 || wanted.includes(name)) run();

function metadata() {
  compare(
    'free space from metadata',
    {
      'disktool sparsify --dry-run': { command: `${disktool} sparsify --dry-run ${image}` },
      ...(has('dumpe2fs') && { dumpe2fs: { command: `dumpe2fs '${image}?offset=${rootOffset}'` } }),
    },
    rounds,
  );
}

function sparsify() {
  const fresh = () => sh(`cp --sparse=never --reflink=never ${image} ${work} && sync ${work}`);
  const figure = () => `${Math.round(allocated(work) / 2 ** 20)} MiB left`;
  compare(
    'shrink in place',
    {
      'disktool sparsify': { prepare: fresh, command: `${disktool} sparsify --quiet ${work}`, figure },
      ...(has('zerofree') && {
        'zerofree + fallocate -d': {
          prepare: fresh,
          command: `zerofree '${work}?offset=${rootOffset}'; fallocate --dig-holes ${work}; sync ${work}`,
          figure,
        },
      }),
    },
    rounds,
  );
  rmSync(work, { force: true });
}

function copy() {
  const prepare = freshOutput;
  const figure = () => `${Math.round(allocated(out) / 2 ** 20)} MiB`;
  compare(
    'sparse copy of the whole',
    {
      'disktool copy': { prepare, command: `${disktool} copy --quiet ${image} ${out}`, figure },
      'cp --sparse=always, sync': {
        prepare,
        command: `cp --sparse=always --reflink=never ${image} ${out}; sync ${out}`,
        figure,
      },
      'cp --sparse=always': { prepare, command: `cp --sparse=always --reflink=never ${image} ${out}`, figure },
      ...(has('qemu-img') && {
        'qemu-img convert, sync': {
          prepare,
          command: `qemu-img convert -f raw -O raw ${image} ${out}; sync ${out}`,
          figure,
        },
        'qemu-img convert': { prepare, command: `qemu-img convert -f raw -O raw ${image} ${out}`, figure },
      }),
    },
    rounds,
  );
  compare(
    'copy without the free space',
    {
      'disktool copy --sparsify': { prepare, command: `${disktool} copy --sparsify --quiet ${image} ${out}`, figure },
    },
    rounds,
  );
  prepare();
}

function download() {
  const prepare = freshOutput;
  const figure = () => `${Math.round(allocated(out) / 2 ** 20)} MiB`;
  const dd = `dd if=${image} of=${out} bs=1M skip=${rootOffset / 2 ** 20} count=${rootSize / 2 ** 20} conv=sparse status=none`;
  compare(
    'one partition into a file',
    {
      'disktool download': { prepare, command: `${disktool} download --quiet ${image} /dev/sda1 ${out}`, figure },
      'dd conv=sparse, sync': { prepare, command: `${dd}; sync ${out}`, figure },
      'dd conv=sparse': { prepare, command: dd, figure },
    },
    rounds,
  );
  prepare();
}
