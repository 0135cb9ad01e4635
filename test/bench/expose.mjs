// disktool expose beside nbdfuse on nbdkit, and on qcow2 beside nbdfuse on qemu-nbd and QEMU's own FUSE export, in one run:
// `npm run bench:expose [-- memory|qcow2]`. Needs root, /dev/fuse and fio.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fill } from './guest-disk.mjs';
import { bandwidth, benchFolder, compare, disktoolCommand, has, iops, sh, wantedSuites } from './measure.mjs';

const MiB = 1 << 20;
/** Seconds of each run of fio. */
const duration = 3;

const suites = { memory, qcow2 };
const wanted = wantedSuites(suites);
if (!has('fio')) throw new Error('needs fio');
const folder = benchFolder();
const running = new Set();
process.on('exit', () => {
  for (const { child, file } of running) {
    sh(`umount --lazy ${file} || true`);
    child.kill('SIGKILL');
  }
});
for (const name of wanted) await suites[name]();

/** Has a program show `size` bytes as a file, and waits until they are there. */
async function show(name, command, size) {
  const file = join(folder, name.replaceAll(/\W+/g, '-'));
  writeFileSync(file, '');
  const [program, ...args] = command(file);
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const shown = { name, file, child };
  running.add(shown);
  const ended = new Promise((resolve) => child.once('close', resolve));
  for (let tries = 0; statSync(file).size !== size; tries++) {
    if (tries === 100 || child.exitCode !== null) throw new Error(`${name} did not start`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return {
    ...shown,
    end: async () => {
      sh(`umount ${file}`);
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 2000))]);
      child.kill('SIGTERM');
      await ended;
      running.delete(shown);
      rmSync(file, { force: true });
    },
  };
}

function compareFio(title, shown, how, unit, goal) {
  const contenders = shown.map(({ name, file }, index) => {
    const command = `fio --name=x --filename=${file} --direct=1 ${how} --time_based --runtime=${duration} --output-format=json`;
    return [name, { command, goal: index === 1 ? goal : undefined }];
  });
  compare(title, Object.fromEntries(contenders), { unit, peaks: false });
}

function compareAll(shown, { writes = true, reads = true } = {}) {
  const stream = '--bs=1M --ioengine=psync --size=1G';
  const random = '--bs=4k --size=1G --norandommap --randrepeat=0';
  if (writes) compareFio('streaming writes, 1 MiB, direct', shown, `--rw=write ${stream}`, bandwidth, 2);
  if (reads) {
    compareFio('streaming reads, 1 MiB, direct', shown, `--rw=read ${stream}`, bandwidth, 2);
    compareFio('4 KiB random reads, direct', shown, `--rw=randread ${random} --ioengine=psync`, iops, 1.3);
    const deep = `--rw=randread ${random} --ioengine=libaio --iodepth=16`;
    compareFio('4 KiB random reads, direct, depth 16', shown, deep, iops, 1.3);
  }
}

async function memory() {
  const size = 4096 * MiB;
  const shown = [await show('disktool expose', (file) => [...disktoolCommand, 'expose', file, '--memory', '4G'], size)];
  if (has('nbdfuse') && has('nbdkit')) {
    const command = (file) => ['nbdfuse', file, '[', 'nbdkit', 'memory', '4G', ']'];
    shown.push(await show('nbdfuse on nbdkit', command, size));
  }
  // What is read has been written before.
  for (const { file } of shown) sh(`dd if=/dev/urandom of=${file} bs=1M count=1024 conv=notrunc status=none`);
  compareAll(shown);
  for (const { end } of shown) await end();
}

/** 1 GiB of random data in a qcow2 image, only to be read. */
async function qcow2() {
  if (!has('qemu-img')) {
    console.log('\nqcow2: left out: needs qemu-img');
    return;
  }
  const size = 1024 * MiB;
  const [raw, image] = [join(folder, 'raw'), join(folder, 'disk.qcow2')];
  fill(raw, size, randomBytes(16 * MiB));
  sh(`qemu-img convert -O qcow2 ${raw} ${image}; rm ${raw}; sync; cat ${image} > /dev/null`);
  const ours = (file) => [...disktoolCommand, 'expose', file, '--image', image, '--read-only'];
  const shown = [await show('disktool expose', ours, size)];
  if (has('nbdfuse') && has('qemu-nbd')) {
    const command = (file) => ['nbdfuse', '-r', file, '[', 'qemu-nbd', '-r', '-f', 'qcow2', image, ']'];
    shown.push(await show('nbdfuse on qemu-nbd', command, size));
  }
  if (has('qemu-storage-daemon')) {
    const blockdev = `driver=qcow2,node-name=disk,read-only=on,file.driver=file,file.filename=${image}`;
    const command = (file) => [
      ...['qemu-storage-daemon', '--blockdev', blockdev],
      ...['--export', `type=fuse,id=x,node-name=disk,mountpoint=${file}`],
    ];
    shown.push(await show('qemu-storage-daemon', command, size));
  }
  compareAll(shown, { writes: false });
  for (const { end } of shown) await end();
  if (existsSync(image)) rmSync(image);
}
