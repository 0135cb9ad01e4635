import { DiskError } from '../error/disk-error.js';
import { requireProgram, runProgram } from '../host/process.js';
import { type Agent, type AskOptions, agentName, answerOf, noAnswer } from './agent.js';
import { type JsonObject, parseObject } from './json.js';

/** Milliseconds that virsh itself may take, besides the agent. */
const margin = 5000;

/**
 * The guest agent of a libvirt domain: virsh(1), qemu-agent-command. libvirt holds the connection and keeps it in step.
 * Which libvirt is asked is said by LIBVIRT_DEFAULT_URI.
 */
export class DomainAgent implements Agent {
  readonly name: string;
  readonly #program: string;

  /** @throws {DiskError} NOT_FOUND without virsh */
  constructor(private readonly domain: string) {
    this.name = agentName({ kind: 'domain', name: domain });
    this.#program = requireProgram('virsh', 'install libvirt-clients');
  }

  async execute(command: string, args: JsonObject | undefined, { patience, signal }: AskOptions): Promise<unknown> {
    const message = JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }) });
    const late = AbortSignal.timeout(patience + margin);
    const either = signal === undefined ? late : AbortSignal.any([signal, late]);
    const seconds = Math.max(1, Math.ceil(patience / 1000));
    const options = ['--quiet', 'qemu-agent-command', '--timeout', String(seconds)];
    try {
      const {
        status,
        signal: by,
        stdout,
        stderr,
      } = await runProgram(this.#program, [...options, '--domain', this.domain, '--cmd', message], { signal: either });
      if (status === 0) return answerOf(this.name, command, parseObject(stdout));
      const said = stderr
        .trim()
        .replace(/\s+/g, ' ')
        .replace(/^error: /, '');
      throw new DiskError('IO', `${this.name}: ${command}: virsh: ${said || (by ?? `status ${status}`)}`, {
        device: this.name,
        reason: 'agent-error',
      });
    } catch (error) {
      if (late.aborted && signal?.aborted !== true)
        throw noAnswer(this.name, command, patience + margin, ' from virsh');
      throw error;
    }
  }

  close(): void {}
}
