// Makes a real guest disk and runs disktool on it, without root: what a newcomer sees first.
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MiB = 1 << 20;
const diskSize = 512 * MiB;
const rootOffset = MiB;
const swapSize = 8 * MiB;
const rootSize = diskSize - swapSize - 2 * MiB;
const swapOffset = rootOffset + rootSize;

// A user's PATH leaves out where Debian keeps the disk tools.
process.env.PATH = [process.env.PATH, '/usr/sbin', '/sbin'].join(delimiter);
const disktool = fileURLToPath(new URL('../../bin/run.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'disktool-demo-'));
const steps = [];
process.exitCode = 1;
process.on('uncaughtException', (error) => {
  console.error(`demo: ${error.message}`);
  process.exit(1);
});
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

const image = join(folder, 'guest.img');
await timed('make the guest disk', makeGuest);
const before = allocated(image);
say(`\nguest.img is ${mib(diskSize)} long and takes ${mib(before)} on this machine, most of it deleted files.`);

await timed('filesystems', () => show('filesystems', '--long', 'guest.img'));
await timed('sparsify --dry-run', () => show('sparsify', '--dry-run', 'guest.img'));
await timed('sparsify', () => show('sparsify', 'guest.img'));
const partition = join(folder, 'root.img');
await timed('download', () => show('download', 'guest.img', '/dev/sda1', 'root.img'));
check('e2fsck', ['-fn', partition], 'the downloaded filesystem is clean');
await timed('serve', serveAndReadBack);

const after = allocated(image);
say(`\n${mib(before - after)} given back: ${mib(before)} before, ${mib(after)} after.\n`);
for (const { name, seconds } of steps) say(`  ${name.padEnd(22)} ${seconds.toFixed(2)} s`);
process.exitCode = 0;

async function makeGuest() {
  // Garbage first: on a disk that has been in use, every block has been written once.
  const file = await open(image, 'w');
  const garbage = randomBytes(8 * MiB);
  for (let at = 0; at < diskSize; at += garbage.length) await file.write(garbage, 0, garbage.length, at);
  await file.write(Buffer.alloc(MiB), 0, MiB, 0);
  await file.close();
  tool('sfdisk', ['--quiet', image], {
    input: [
      'label: gpt',
      `start=1MiB, size=${rootSize / MiB}MiB, type=linux, name=root`,
      `start=${swapOffset / MiB}MiB, size=${swapSize / MiB}MiB, type=swap`,
      '',
    ].join('\n'),
  });
  const swap = join(folder, 'swap');
  writeFileSync(swap, Buffer.alloc(swapSize), { mode: 0o600 });
  tool('mkswap', ['-q', swap]);
  const header = readFileSync(swap).subarray(0, 4096);
  const disk = await open(image, 'r+');
  await disk.write(header, 0, header.length, swapOffset);
  await disk.close();
  rmSync(swap);

  const tree = join(folder, 'tree');
  mkdirSync(join(tree, 'home'), { recursive: true });
  writeFileSync(join(tree, 'readme'), 'kept\n');
  for (let i = 0; i < 12; i++) writeFileSync(join(tree, 'home', `video-${i}`), randomBytes(24 * MiB));
  tool('mke2fs', [
    '-q',
    '-F',
    '-t',
    'ext4',
    '-L',
    'guest',
    '-d',
    tree,
    '-E',
    `offset=${rootOffset},nodiscard`,
    image,
    `${rootSize / 1024}k`,
  ]);
  rmSync(tree, { recursive: true });
  // The user deletes ten of the twelve videos; their blocks stay as they were.
  const commands = Array.from({ length: 10 }, (_, i) => `rm /home/video-${i}\n`).join('');
  const script = join(folder, 'removals');
  writeFileSync(script, commands);
  tool('debugfs', ['-w', '-f', script, `${image}?offset=${rootOffset}`]);
}

async function serveAndReadBack() {
  const socket = join(folder, 'nbd.sock');
  say(`\n$ disktool serve guest.img --read-only --socket nbd.sock`);
  const server = spawn(process.execPath, [disktool, 'serve', 'guest.img', '--read-only', '--socket', 'nbd.sock'], {
    cwd: folder,
    stdio: 'inherit',
  });
  const ended = new Promise((resolve) => server.on('exit', resolve));
  try {
    const deadline = Date.now() + 20_000;
    while (!existsSync(socket)) {
      if (Date.now() > deadline || server.exitCode !== null) throw new Error('serve did not start');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const copy = join(folder, 'read-back.img');
    const uri = `nbd+unix:///?socket=${socket}`;
    show('copy', uri, copy);
    const same = (await digest(image)) === (await digest(copy));
    say(same ? 'what was read back over NBD is the same, byte for byte' : 'what was read back over NBD DIFFERS');
    if (!same) throw new Error('the copy differs');
  } finally {
    server.kill('SIGTERM');
    await ended;
  }
}

function show(...args) {
  say(`\n$ disktool ${args.join(' ')}`);
  const { status } = spawnSync(process.execPath, [disktool, ...args], { cwd: folder, stdio: 'inherit' });
  if (status !== 0) throw new Error(`disktool ${args[0]} ended with status ${status}`);
}

function check(program, args, meaning) {
  const { status } = spawnSync(program, args, { stdio: 'ignore' });
  if (status !== 0) throw new Error(`${program} ended with status ${status}`);
  say(`${program} says: ${meaning}`);
}

function tool(program, args, options = {}) {
  const { status, stderr, error } = spawnSync(program, args, {
    stdio: ['pipe', 'ignore', 'pipe'],
    encoding: 'utf8',
    ...options,
  });
  if (error !== undefined) throw new Error(`${program} is needed: install e2fsprogs and fdisk (${error.message})`);
  if (status !== 0) throw new Error(`${program} ended with status ${status}: ${stderr}`);
}

async function timed(name, body) {
  const start = performance.now();
  await body();
  steps.push({ name, seconds: (performance.now() - start) / 1000 });
}

async function digest(path) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: MiB })) hash.update(chunk);
  return hash.digest('hex');
}

function allocated(path) {
  return statSync(path).blocks * 512;
}

function mib(bytes) {
  return `${Math.round(bytes / MiB)} MiB`;
}

function say(line) {
  console.log(line);
}
