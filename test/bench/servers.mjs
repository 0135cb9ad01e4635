// NBD servers that stay up while a suite measures them, each on a unix socket of its own.
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { disktoolCommand, sh } from './measure.mjs';

/** How each program serves the bytes of a file on a unix socket, in the foreground. */
export const serve = {
  disktool: (file, socket, ...options) => [...disktoolCommand, 'serve', '--file', file, '--socket', socket, ...options],
  disktoolImage: (image, socket) => [...disktoolCommand, 'serve', '--read-only', image, '--socket', socket],
  nbdkit: (file, socket, filters = [], parameters = []) => [
    ...['nbdkit', '-f', '-U', socket, ...filters.map((filter) => `--filter=${filter}`), 'file', file],
    ...parameters,
  ],
  qemuNbd: (file, socket, format = 'raw', ...options) => [
    ...['qemu-nbd', '-t', '-e', '16', '--cache=writeback', '-f', format, '-k', socket, ...options],
    file,
  ],
};

const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a server, and waits until clients can connect. */
export async function start(folder, name, serveOn) {
  const socket = join(folder, `${name.replaceAll(/\W+/g, '-')}.sock`);
  const [program, ...args] = serveOn(socket);
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  running.add(child);
  const ended = new Promise((resolve) => {
    child.once('close', () => {
      running.delete(child);
      resolve();
    });
  });
  const uri = `nbd+unix:///?socket=${socket}`;
  for (let tries = 0; ; tries++) {
    try {
      sh(`nbdinfo --size '${uri}'`);
      break;
    } catch (error) {
      if (tries === 100 || child.exitCode !== null) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  return {
    name,
    uri,
    /** MB: what is resident now, and the most that ever was. */
    memory: () => ({ now: statusOf(child.pid, 'VmRSS'), peak: statusOf(child.pid, 'VmHWM') }),
    end: async () => {
      child.kill('SIGTERM');
      await ended;
      // nbdkit leaves its socket where it was.
      rmSync(socket, { force: true });
    },
  };
}

function statusOf(pid, field) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return (Number(new RegExp(`^${field}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024) / 1e6;
}
