import { resolve } from 'node:path';
import { Flags } from '@oclif/core';
import { DiskError } from '../error/disk-error.js';
import type { HookTask } from '../host/freeze-hooks.js';
import type { AgentAddress } from '../machine/agent.js';
import { durationFlag } from './flags.js';
import { formatDuration } from './quantities.js';

/** What is said of a freeze, whatever it is for. */
export const freezeFlags = {
  timeout: durationFlag({
    summary: 'thaw by itself after this time; 0: never',
    default: 60_000,
    defaultHelp: async () => '60s',
  }),
  hooks: Flags.string({
    summary: 'call the programs in this folder, with "freeze" before and "thaw" after',
    description:
      'As qemu-ga has them in fsfreeze-hook.d: executables, both times by ascending name, without what editors and packages leave behind (~, .bak, .dpkg-old …). One that fails, or takes too long, calls the freeze off; those that were called are called with "thaw" then too.',
    helpValue: 'DIR',
  }),
  'hook-timeout': durationFlag({
    summary: 'kill a hook that takes longer than this',
    default: 30_000,
    defaultHelp: async () => '30s',
  }),
};

/** What is said of a mount that disktool should better not freeze. */
export const neededFlag = {
  summary: 'freeze also the root filesystem, or one that disktool needs itself',
  description: 'Whoever writes to it waits, which may be the shell that you would thaw it with.',
};

/** How a guest is reached. */
export const agentFlags = {
  agent: Flags.string({
    summary: 'in a guest, through its guest agent (qemu-ga) at this unix socket or character device',
    helpValue: 'SOCKET',
  }),
  domain: Flags.string({
    summary: 'in a guest, through the guest agent of this libvirt domain (by virsh)',
    helpValue: 'NAME',
    exclusive: ['agent'],
  }),
};

/** What the flags say of a guest; undefined: nothing. */
export function agentOf({
  agent,
  domain,
}: {
  readonly agent?: string | undefined;
  readonly domain?: string | undefined;
}): AgentAddress | undefined {
  if (agent !== undefined) return { kind: 'socket', path: resolve(agent) };
  return domain === undefined ? undefined : { kind: 'domain', name: domain };
}

/** What the flags say of hooks. */
export function hooksOf(flags: {
  readonly hooks?: string | undefined;
  readonly 'hook-timeout': number;
}): HookTask | undefined {
  const { hooks: folder, 'hook-timeout': timeout } = flags;
  if (folder === undefined) return undefined;
  if (timeout === 0) throw new DiskError('USAGE', '--hook-timeout 0 leaves a hook no time');
  return { folder: resolve(folder), timeout };
}

/** Up to two minutes in seconds, as timeouts are spoken of. */
export function inSeconds(time: number): string {
  return time >= 1000 && time <= 120_000 ? `${Math.round(time / 1000)} s` : formatDuration(time);
}
