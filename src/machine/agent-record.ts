import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  type FreezeRecord,
  isAlive,
  isRecordGuard,
  isThawed,
  recordFolder,
  type Thawed,
} from '../host/freeze-record.js';
import type { AgentAddress } from './agent.js';
import { isObject } from './json.js';

/** What is known of the freeze of a guest, kept where the records of mounts are: one file an agent. */
export interface AgentRecord {
  readonly address: AgentAddress;
  readonly guard: FreezeRecord['guard'];
  /** Milliseconds; 0: never. */
  readonly timeout: number;
  /** Of filesystems, as the agent counts them. */
  readonly count: number;
  /** When it was frozen: milliseconds since 1970. */
  readonly frozenAt: number;
  /** Somebody asks the guard to thaw it: the connection is the guard's. */
  readonly asked?: boolean | undefined;
  readonly thawed?: ThawedGuest | undefined;
}

export interface ThawedGuest extends Thawed {
  /** What could not be thawed, or was not frozen any more. */
  readonly stuck?: readonly string[] | undefined;
  readonly elsewhere?: readonly string[] | undefined;
}

const fileName = /^frozen-agent-[0-9a-f]+\.json$/;

/** One address a channel, whatever path leads to it. */
export function settleAddress(address: AgentAddress): AgentAddress {
  if (address.kind === 'domain') return address;
  try {
    return { kind: 'socket', path: realpathSync(address.path) };
  } catch {
    // Who connects to it is told.
    return address;
  }
}

function recordPath(address: AgentAddress): string | undefined {
  const folder = recordFolder();
  if (folder === undefined) return undefined;
  const key = address.kind === 'socket' ? address.path : `domain ${address.name}`;
  return join(folder, `frozen-agent-${createHash('sha256').update(key).digest('hex').slice(0, 24)}.json`);
}

export function writeAgentRecord(record: AgentRecord): void {
  const path = recordPath(record.address);
  const folder = recordFolder();
  if (path === undefined || folder === undefined) return;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  renameSync(fresh, path);
}

export function removeAgentRecord(address: AgentAddress): void {
  const path = recordPath(address);
  if (path !== undefined) rmSync(path, { force: true });
}

export function findAgentRecord(address: AgentAddress): AgentRecord | undefined {
  const path = recordPath(address);
  return path === undefined ? undefined : readRecord(path);
}

export function allAgentRecords(): AgentRecord[] {
  const folder = recordFolder();
  if (folder === undefined || !existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => fileName.test(name))
    .flatMap((name) => readRecord(join(folder, name)) ?? []);
}

/** Removes the records of sockets that are no more. */
export function pruneAgentRecords(): void {
  for (const { address, guard } of allAgentRecords()) {
    if (address.kind === 'socket' && !existsSync(address.path) && !isAlive(guard)) removeAgentRecord(address);
  }
}

function readRecord(path: string): AgentRecord | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return isAgentRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isAgentRecord(value: unknown): value is AgentRecord {
  if (!isObject(value)) return false;
  const { address, guard, timeout, count, frozenAt, thawed } = value;
  return (
    isAddress(address) &&
    isRecordGuard(guard) &&
    [timeout, count, frozenAt].every((number) => typeof number === 'number') &&
    (thawed === undefined || isThawed(thawed))
  );
}

export function isAddress(value: unknown): value is AgentAddress {
  if (!isObject(value)) return false;
  const { kind, path, name } = value;
  return (kind === 'socket' && typeof path === 'string') || (kind === 'domain' && typeof name === 'string');
}
