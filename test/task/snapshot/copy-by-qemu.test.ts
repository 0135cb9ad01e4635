import { existsSync } from 'node:fs';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { Qmp } from '../../../src/machine/qmp.js';
import { hold } from '../../support/hold.js';
import { needs } from '../../support/needs.js';
import { attempt, disktool, disktoolPath, run } from '../../support/run.js';
import { scriptedAgent } from '../../support/scripted-agent.js';
import { temporaryFolder } from '../../support/temporary.js';

const it = needs({ programs: ['qemu-img', 'qemu-io', 'qemu-system-x86_64'] });
const env = { XDG_RUNTIME_DIR: '/tmp' };

/** A QEMU whose processor stands, with a qcow2 disk on a base, and a monitor for disktool and one for the test. */
async function machine() {
  const folder = await temporaryFolder();
  const at = (name: string) => join(folder, name);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', at('base.qcow2'), '32M']);
  await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x11 0 1M', at('base.qcow2')]);
  const backing = ['-b', 'base.qcow2', '-F', 'qcow2'];
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, at('guest.qcow2')]);
  await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x22 512k 1M', at('guest.qcow2')]);
  // What the copy has to hold.
  await run('qemu-img', ['convert', '-O', 'qcow2', at('guest.qcow2'), at('expected.qcow2')]);
  const monitors = ['qmp', 'other'].flatMap((name) => ['-qmp', `unix:${at(name)},server=on,wait=off`]);
  const drive = `if=virtio,id=disk0,format=qcow2,file=guest.qcow2`;
  const script = 'cd "$0" && exec qemu-system-x86_64 "$@"';
  const args = ['-S', '-accel', 'tcg', '-nodefaults', '-display', 'none', ...monitors, '-drive', drive];
  const { end } = await hold(
    'sh',
    ['-c', script, folder, ...args],
    () => existsSync(at('qmp')) && existsSync(at('other')),
  );
  const monitor = await Qmp.connect(at('other'));
  onTestFinished(() => monitor.close());
  const write = (pattern: string) =>
    monitor.execute('human-monitor-command', { 'command-line': `qemu-io disk0 "write -P ${pattern} 256k 2M"` });
  const nodes = async () => JSON.stringify(await monitor.execute('query-named-block-nodes'));
  return { at, folder, end, monitor, write, nodes };
}

it('QEMU copies a qcow2 image that its guest goes on writing to, as it was when the guest stood still', async () => {
  const { at, folder, write, nodes, monitor } = await machine();
  const agent = await scriptedAgent();
  const before = await nodes();
  agent.script = (command, socket) => {
    if (command !== 'guest-fsfreeze-thaw') return undefined;
    // The guest goes on as soon as it may.
    void write('0x33').then(() => {
      agent.frozen = false;
      socket.write('{"return": 1}\n');
    });
    return 'handled';
  };
  const args = ['snapshot', at('guest.qcow2'), at('copy.qcow2'), '--agent', agent.path, '--qmp', at('qmp'), '--json'];
  const { status, stdout } = await disktool(args, { env });
  expect({ status, ...JSON.parse(stdout) }).toMatchObject({ status: 0, format: 'qcow2', size: 32 << 20 });
  expect(await attempt('qemu-img', ['compare', at('copy.qcow2'), at('expected.qcow2')])).toMatchObject({ status: 0 });
  const { format, 'backing-filename': backing } = JSON.parse(
    await run('qemu-img', ['info', '--output=json', at('copy.qcow2')]),
  );
  expect({ format, backing }).toEqual({ format: 'qcow2', backing: undefined });
  expect(await attempt('qemu-img', ['check', at('copy.qcow2')])).toMatchObject({ status: 0 });

  // Once more as a raw image, beside what is there; and QEMU is left as it was found.
  agent.script = undefined;
  const taken = await disktool([...args, '--convert', 'raw'], { env });
  expect(JSON.parse(taken.stdout)).toMatchObject({ code: 'UNSAFE', reason: 'output-exists' });
  const raw = args.with(2, at('copy.img'));
  expect(await disktool([...raw, '--convert', 'raw'], { env })).toMatchObject({ status: 0 });
  // What QEMU holds shows in its file in part only.
  await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x33 256k 2M', at('expected.qcow2')]);
  const same = await attempt('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', at('copy.img'), at('expected.qcow2')]);
  expect(same.status).toBe(0);
  const { size, blocks } = await stat(at('copy.img'));
  expect({ size, sparse: blocks * 512 < 8 << 20 }).toEqual({ size: 32 << 20, sparse: true });
  expect(namesIn(await nodes())).toEqual(namesIn(before));
  expect(await monitor.execute('query-jobs')).toEqual([]);
  expect((await readdir(folder)).sort()).toEqual(
    ['base.qcow2', 'copy.img', 'copy.qcow2', 'expected.qcow2', 'guest.qcow2', 'other', 'qmp'].sort(),
  );
}, 120_000);

it('what is no disk of this QEMU is told, and a freeze that fails leaves QEMU and the folder as they were', async () => {
  const { at, folder, nodes, monitor } = await machine();
  const agent = await scriptedAgent();
  const [before, files] = [await nodes(), await readdir(folder)];
  const base = ['snapshot', at('base.qcow2'), at('copy'), '--agent', agent.path, '--qmp', at('qmp')];
  expect((await disktool(base, { env })).stderr).toMatch(
    /no disk of the guest of QEMU at \S+ is this image: it has guest\.qcow2/,
  );
  agent.frozen = true;
  const { status, stderr } = await disktool(base.with(1, at('guest.qcow2')), { env });
  expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringContaining('is frozen already') });
  expect(namesIn(await nodes())).toEqual(namesIn(before));
  expect(await monitor.execute('query-jobs')).toEqual([]);
  expect(await readdir(folder)).toEqual(files);
}, 120_000);

it('a QEMU that ends meanwhile leaves no copy', async () => {
  const { at, end } = await machine();
  const agent = await scriptedAgent();
  agent.script = (command, socket) => {
    if (command !== 'guest-fsfreeze-thaw') return undefined;
    void end().then(() => socket.write('{"return": 1}\n'));
    return 'handled';
  };
  const args = ['snapshot', at('guest.qcow2'), at('copy'), '--agent', agent.path, '--qmp', at('qmp')];
  const { status, stderr } = await disktool(args, { env });
  expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringContaining('the connection ended') });
  expect(existsSync(at('copy'))).toBe(false);
}, 120_000);

it('what a disktool that was killed has left in QEMU is removed by the next one', async () => {
  const { at, nodes, monitor, folder } = await machine();
  const agent = await scriptedAgent();
  const [before, files] = [await nodes(), await readdir(folder)];
  let answer: (() => void) | undefined;
  agent.script = (command, socket) => {
    if (command !== 'guest-fsfreeze-thaw') return undefined;
    answer = () => {
      agent.frozen = false;
      socket.write('{"return": 1}\n');
    };
    return 'handled';
  };
  const args = ['snapshot', at('guest.qcow2'), at('copy'), '--agent', agent.path, '--qmp', at('qmp')];
  const killed = await hold(process.execPath, [disktoolPath, ...args], () => answer !== undefined);
  await killed.end();
  expect(await readdir(folder)).toEqual(files);
  expect(await monitor.execute('query-jobs')).toHaveLength(1);
  agent.script = undefined;
  answer?.();
  // The guard of the one that was killed has the connection until it has thawed.
  const { status, stderr } = await disktool(args, { env });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(await attempt('qemu-img', ['compare', at('copy'), at('expected.qcow2')])).toMatchObject({ status: 0 });
  expect(await monitor.execute('query-jobs')).toEqual([]);
  expect(namesIn(await nodes())).toEqual(namesIn(before));
}, 120_000);

needs({ programs: [] })('what does not greet as a monitor does is told', async () => {
  const agent = await scriptedAgent();
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'image'), '');
  const args = ['snapshot', join(folder, 'image'), join(folder, 'copy'), '--agent', agent.path, '--qmp', agent.path];
  const { status, stderr } = await disktool(args, { env });
  expect({ status, stderr }).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('greeting: no answer within 5 s'),
  });
});

/** The names of the nodes that are not QEMU's own counting. */
function namesIn(text: string): string[] {
  return [...text.matchAll(/"node-name":"([^"]*)"/g)].map(([, name = '']) => name).sort();
}
