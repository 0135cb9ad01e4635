// disktool serve beside nbdkit and qemu-nbd, in one run: `npm run bench:nbd [-- reads|writes|copy|sparse|layers|trace|qcow2 …]`.
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fill } from './guest-disk.mjs';
import { benchFolder, compare, disktoolCommand, has, iops, sh, wantedSuites } from './measure.mjs';
import { serve, start } from './servers.mjs';

const MiB = 1 << 20;
/** Seconds of each run of fio. */
const duration = 3;
/** MB: what we want our server to stay under after all that. */
const memoryGoal = 200;

const plain = { reads, writes, copy };
const others = { sparse, layers, trace, qcow2 };
const wanted = wantedSuites({ ...plain, ...others });
for (const program of ['fio', 'nbdcopy', 'nbdinfo']) if (!has(program)) throw new Error(`needs ${program}`);
const folder = benchFolder();

const wantsPlain = wanted.some((name) => Object.hasOwn(plain, name));
const files = wantsPlain || wanted.includes('layers') ? makeFiles() : {};

if (wantsPlain) {
  await withServers(
    {
      'disktool serve': (socket) => serve.disktool(files.ours, socket),
      ...(has('nbdkit') && { nbdkit: (socket) => serve.nbdkit(files.nbdkit, socket) }),
      ...(has('qemu-nbd') && { 'qemu-nbd': (socket) => serve.qemuNbd(files.qemu, socket) }),
    },
    (servers) => {
      for (const [name, run] of Object.entries(plain)) if (wanted.includes(name)) run(servers);
    },
  );
}
for (const [name, run] of Object.entries(others)) if (wanted.includes(name)) await run();

/** 2 GiB of random data in the page cache, a copy for each server: ours lets nobody else write to what it serves. */
function makeFiles() {
  console.log('making a file of 2 GiB for each server');
  const made = { ours: join(folder, 'ours'), nbdkit: join(folder, 'nbdkit'), qemu: join(folder, 'qemu') };
  for (const path of Object.values(made)) fill(path, 2048 * MiB, randomBytes(16 * MiB));
  sh(`sync; cat ${Object.values(made).join(' ')} > /dev/null`);
  return made;
}

/** Keeps servers up for `measure`, ours first, and tells at the end what memory they have taken. */
async function withServers(commands, measure) {
  const servers = [];
  for (const [name, serveOn] of Object.entries(commands)) servers.push(await start(folder, name, serveOn));
  measure(servers);
  console.log(`\nmemory after that, and the most (goal: under ${memoryGoal} MB)`);
  const width = Math.max(...servers.map(({ name }) => name.length));
  for (const [index, { name, memory }] of servers.entries()) {
    const { now, peak } = memory();
    const goal = index > 0 ? '' : `  ${now < memoryGoal ? 'met' : 'missed'}`;
    console.log(`  ${name.padEnd(width)}  ${Math.round(now)} MB  ${Math.round(peak)} MB${goal}`);
  }
  for (const { end } of servers) await end();
}

/** Every server by the same command; `goals` by its name: how many times as fast we want to be. */
function compareServers(title, servers, command, goals, { unit, prepare } = {}) {
  const contenders = servers.map(({ name, uri }) => [name, { prepare, command: command(uri), goal: goals[name] }]);
  compare(title, Object.fromEntries(contenders), { unit, peaks: false });
}

function compareFio(title, servers, { rw, depth, prepare }, goals) {
  const command = (uri) =>
    `fio --name=${rw} --ioengine=nbd --uri='${uri}' --rw=${rw} --bs=4k --iodepth=${depth} --norandommap --randrepeat=0 \
      --time_based --runtime=${duration} --output-format=json`;
  compareServers(title, servers, command, goals, { unit: iops, prepare });
}

function reads(servers) {
  const rw = 'randread';
  compareFio('4 KiB random reads, depth 16', servers, { rw, depth: 16 }, { nbdkit: 1.4, 'qemu-nbd': 2.5 });
  compareFio('4 KiB random reads, depth 1', servers, { rw, depth: 1 }, { nbdkit: 1.5 });
}

function writes(servers) {
  // Nobody pays for what the one before left to be written.
  const prepare = () => sh('sync');
  compareFio('4 KiB random writes, depth 16', servers, { rw: 'randwrite', depth: 16, prepare }, { nbdkit: 1.2 });
  prepare();
}

function copy(servers) {
  compareServers('nbdcopy of 2 GiB, several connections', servers, (uri) => `nbdcopy '${uri}' null:`, { nbdkit: 1.2 });
  const one = (uri) => `nbdcopy --connections=1 '${uri}' null:`;
  compareServers('nbdcopy of 2 GiB, one connection', servers, one, { nbdkit: 1.0 });
}

/** 1 TiB, of which every GiB has 64 KiB of data. */
async function sparse() {
  const paths = ['ours', 'nbdkit'].map((name) => join(folder, `sparse-${name}`));
  const data = randomBytes(64 << 10);
  for (const path of paths) {
    const fd = openSync(path, 'w');
    for (let at = 0; at < 1024; at++) writeSync(fd, data, 0, data.length, at * 1024 * MiB);
    closeSync(fd);
    truncateSync(path, 2 ** 40);
  }
  const [ours, theirs] = paths;
  await withServers(
    {
      'disktool serve': (socket) => serve.disktool(ours, socket),
      ...(has('nbdkit') && { nbdkit: (socket) => serve.nbdkit(theirs, socket) }),
    },
    (servers) => {
      compareServers('nbdcopy of 1 TiB by extents', servers, (uri) => `nbdcopy '${uri}' null:`, { nbdkit: 1.0 });
    },
  );
}

async function layers() {
  const help = sh(`${disktoolCommand.join(' ')} serve --help`);
  const pairs = [
    { option: '--error-rate', filter: 'error', parameter: 'error-rate=0' },
    { option: '--delay', filter: 'delay', parameter: 'delay-read=0' },
  ];
  for (const { option, filter, parameter } of pairs) {
    if (!help.includes(option)) {
      console.log(`\nreads with one layer: left out: disktool serve has no ${option}`);
      continue;
    }
    const nbdkit = `nbdkit --filter=${filter}`;
    await withServers(
      {
        [`disktool serve ${option} 0`]: (socket) => serve.disktool(files.ours, socket, option, '0'),
        ...(has('nbdkit') && {
          [nbdkit]: (socket) => serve.nbdkit(files.nbdkit, socket, [filter], [parameter]),
        }),
      },
      (servers) => {
        const goals = { [nbdkit]: 1.0 };
        compareFio('4 KiB random reads with one layer, depth 16', servers, { rw: 'randread', depth: 16 }, goals);
        const command = (uri) => `nbdcopy '${uri}' null:`;
        compareServers('nbdcopy of 2 GiB with one layer, several connections', servers, command, goals);
      },
    );
  }
}

/** What it costs to trace a guest that reads files of 64 KiB all over its disk, counted alone and with lines. */
async function trace() {
  const [size, fileSize] = [2048 * MiB, 64 << 10];
  const [path, map] = [join(folder, 'traced'), join(folder, 'map')];
  fill(path, size, randomBytes(16 * MiB));
  sh(`cat ${path} > /dev/null`);
  const lines = Array.from({ length: size / fileSize }, (_, i) => {
    const [start, end] = [i * fileSize, (i + 1) * fileSize].map((at) => at.toString(16));
    return `1 ${start} ${end} f /dev/sda /usr/lib/folder-${i % 1000}/file-${i}\n`;
  });
  writeFileSync(map, `1 0 ${size.toString(16)} v /dev/sda\n${lines.join('')}`);
  const options = {
    'disktool serve --trace-summary': ['--trace-summary'],
    'disktool serve': undefined,
    'disktool serve --trace': ['--trace-file', '/dev/null'],
    'disktool serve --trace, json': ['--trace-file', '/dev/null', '--trace-format', 'json'],
  };
  const serveOn = (more) => (socket) => {
    const traced = more === undefined ? [] : ['--map', map, ...more];
    return serve.disktool(path, socket, '--read-only', '--force-share', '--quiet', ...traced);
  };
  const commands = Object.fromEntries(Object.entries(options).map(([name, more]) => [name, serveOn(more)]));
  await withServers(commands, (servers) => {
    const goals = { 'disktool serve': 0.9 };
    compareFio('4 KiB random reads, traced, depth 16', servers, { rw: 'randread', depth: 16 }, goals);
    compareFio('4 KiB random reads, traced, depth 1', servers, { rw: 'randread', depth: 1 }, goals);
  });
}

/** 2 GiB of random data in a qcow2 image, only to be read. */
async function qcow2() {
  if (!has('qemu-img') || !has('qemu-nbd')) {
    console.log('\nreads of a qcow2 image: left out: needs qemu-img and qemu-nbd');
    return;
  }
  const [raw, image] = [join(folder, 'raw'), join(folder, 'disk.qcow2')];
  fill(raw, 2048 * MiB, randomBytes(16 * MiB));
  sh(`qemu-img convert -O qcow2 ${raw} ${image}; rm ${raw}; sync; cat ${image} > /dev/null`);
  await withServers(
    {
      'disktool serve': (socket) => serve.disktoolImage(image, socket),
      'qemu-nbd': (socket) => serve.qemuNbd(image, socket, 'qcow2', '--read-only'),
    },
    (servers) => {
      const rw = 'randread';
      compareFio('4 KiB random reads of qcow2, depth 16', servers, { rw, depth: 16 }, { 'qemu-nbd': 1.5 });
      compareFio('4 KiB random reads of qcow2, depth 1', servers, { rw, depth: 1 }, {});
      compareServers('nbdcopy of 2 GiB in qcow2, several connections', servers, (uri) => `nbdcopy '${uri}' null:`, {});
    },
  );
}
