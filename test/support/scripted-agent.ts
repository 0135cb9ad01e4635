import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { temporaryFolder } from './temporary.js';

/** What a scripted agent does instead of answering by itself; undefined: it answers. */
type Script = (command: string, socket: Socket, args: Record<string, unknown>) => 'handled' | undefined;

export interface ScriptedAgent {
  readonly path: string;
  /** The commands that it got, in order, without those that keep in step. */
  readonly commands: string[];
  frozen: boolean;
  /** How many filesystems it says that a freeze and a thaw were of; undefined: as many as were named, or one. */
  count: number | undefined;
  script: Script | undefined;
  /** Ends every connection, and takes no more. */
  die(): void;
}

/** Mount points of its guest, and the device of each. */
const filesystems: Readonly<Record<string, string>> = { '/': 'vda1', '/srv': 'vdb1', '/srv/again': 'vdb1' };

/**
 * Something that speaks as qemu-ga does (qga/qapi-schema.json), on a unix socket that takes one client at a time as QEMU's
 * do.
 */
export async function scriptedAgent(): Promise<ScriptedAgent> {
  const path = join(await temporaryFolder(), 'agent.sock');
  const sockets = new Set<Socket>();
  let named = 1;
  const agent: ScriptedAgent = {
    path,
    commands: [],
    frozen: false,
    count: undefined,
    script: undefined,
    die: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
  const answer = (socket: Socket, value: unknown) => socket.write(`${JSON.stringify(value)}\r\n`);
  const execute = (socket: Socket, { execute: command, arguments: args = {} }: Request) => {
    if (command === 'guest-sync-delimited') {
      if (agent.script?.(command, socket, args) === 'handled') return;
      socket.write(Buffer.concat([Uint8Array.of(0xff), Buffer.from(`{"return": ${args.id}}\n`)]));
      return;
    }
    agent.commands.push(command);
    if (agent.script?.(command, socket, args) === 'handled') return;
    switch (command) {
      case 'guest-ping':
        return answer(socket, { return: {} });
      case 'guest-fsfreeze-status':
        return answer(socket, { return: agent.frozen ? 'frozen' : 'thawed' });
      case 'guest-get-fsinfo':
        return answer(socket, {
          return: Object.entries(filesystems).map(([mountpoint, name]) => ({
            mountpoint,
            name,
            type: 'ext4',
            disk: [],
          })),
        });
      case 'guest-fsfreeze-freeze':
      case 'guest-fsfreeze-freeze-list': {
        const { mountpoints } = args;
        named = Array.isArray(mountpoints) ? new Set(mountpoints.map((at) => filesystems[String(at)])).size : 1;
        agent.frozen = true;
        return answer(socket, { return: agent.count ?? named });
      }
      case 'guest-fsfreeze-thaw': {
        const count = agent.frozen ? (agent.count ?? named) : 0;
        agent.frozen = false;
        return answer(socket, { return: count });
      }
      default:
        return answer(socket, {
          error: { class: 'CommandNotFound', desc: `The command ${command} has not been found` },
        });
    }
  };
  let busy = Promise.resolve();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.pause();
    const before = busy;
    busy = before.then(() => closed);
    void before.then(() => {
      let text = Buffer.alloc(0);
      socket.on('data', (chunk: Buffer) => {
        text = Buffer.concat([text, chunk]);
        text = text.subarray(text.lastIndexOf(0xff) + 1);
        for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n')) {
          const request: Request = JSON.parse(text.subarray(0, end).toString());
          text = text.subarray(end + 1);
          execute(socket, request);
        }
      });
      socket.resume();
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(agent.die);
  return agent;
}

interface Request {
  readonly execute: string;
  readonly arguments?: Record<string, unknown>;
}
