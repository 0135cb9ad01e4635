import { constants } from 'node:os';
import { Command, Flags, type Interfaces } from '@oclif/core';
import { hasCode } from '../error/disk-error.js';
import { wrapSystemError } from '../host/errno.js';
import { isInForeground } from '../host/terminal.js';
import type { TaskContext } from '../task/context.js';
import { explain, type Failure } from './failure.js';
import { toJson } from './json.js';
import { printable } from './printable.js';
import { type ProgressStyle, withProgress } from './progress.js';

export type FlagsOf<T extends typeof Command> = Interfaces.InferredFlags<
  (typeof BaseCommand)['baseFlags'] & T['flags']
>;
export type ArgsOf<T extends typeof Command> = Interfaces.InferredArgs<T['args']>;

const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * What every verb has in common: signals become an AbortSignal, errors become words and an exit status, `--json` becomes
 * one document on standard output, and all else goes to standard error.
 */
export abstract class BaseCommand<T extends typeof Command> extends Command {
  static override baseFlags = {
    quiet: Flags.boolean({ char: 'q', summary: 'print no progress and no warnings', helpGroup: 'GLOBAL' }),
    progress: Flags.option({ options: ['auto', 'json', 'none'] as const })({
      default: 'auto',
      summary: 'how progress is shown on standard error',
      description: 'auto: a bar on a terminal, lines when piped. json: a JSON line each second.',
      helpGroup: 'GLOBAL',
    }),
    verbose: Flags.boolean({ char: 'v', summary: 'say what caused an error', helpGroup: 'GLOBAL' }),
  };

  /** True for a verb that runs somebody's command: what follows the first `--` is taken off before parsing. */
  static takesCommand = false;

  declare protected flags: FlagsOf<T>;
  declare protected args: ArgsOf<T>;
  /** What followed `--`, for a verb that takes a command. */
  protected commandLine: string[] | undefined;
  /** The exit status when nothing throws. */
  protected status = 0;
  /** Somebody's command runs on our terminal: a Ctrl-C reaches it too, and it is the one to say what that means. */
  protected commandOnTerminal = false;

  /** Set by a verb that writes its result to standard output piece by piece: a failure then has no document there. */
  protected streams = false;

  readonly #abort = new AbortController();
  readonly #insisted = new AbortController();
  #stoppedBy: (typeof stopSignals)[number] | undefined;
  readonly #listeners = stopSignals.map((signal) => ({ signal, listener: () => this.#stop(signal) }));

  /** Fires on SIGINT, SIGTERM and SIGHUP, unless a command on our terminal answers the Ctrl-C. */
  protected get signal(): AbortSignal {
    return this.#abort.signal;
  }

  protected override async init(): Promise<void> {
    await super.init();
    // oclif's own listener throws, which would end Node with a stack trace.
    process.stdout.removeAllListeners('error').on('error', this.#outputFailed);
    for (const { signal, listener } of this.#listeners) process.on(signal, listener);
    if (this.#takesCommand()) {
      // oclif's parser drops the `--` and joins the two sides.
      const at = this.argv.indexOf('--');
      if (at !== -1) {
        this.commandLine = this.argv.slice(at + 1);
        this.argv = this.argv.slice(0, at);
      }
    }
    const { args, flags } = await this.parse({
      args: this.ctor.args,
      flags: this.ctor.flags,
      baseFlags: BaseCommand.baseFlags,
      enableJsonFlag: this.ctor.enableJsonFlag,
      strict: this.ctor.strict,
    });
    // oclif has just parsed them by the class's own declarations, from which both types are inferred.
    this.flags = flags as FlagsOf<T>;
    this.args = args as ArgsOf<T>;
  }

  /** What a task needs of its surroundings, without a picture of its progress. */
  protected get context(): TaskContext {
    return {
      signal: this.signal,
      insisted: this.#insisted.signal,
      onWarning: (message) => this.note(`warning: ${message}`),
    };
  }

  /** Runs a task and shows how far it is. */
  protected withProgress<Result>(title: string, task: (context: TaskContext) => Promise<Result>): Promise<Result> {
    const style: ProgressStyle = this.flags.quiet ? 'none' : this.flags.progress;
    return withProgress(title, style, this.context, task);
  }

  /** One line to standard error, unless `--quiet`. */
  protected note(message: string): void {
    if (!this.flags.quiet) process.stderr.write(`${this.config.bin}: ${printable(message)}\n`);
  }

  /** One line to standard error whatever the flags. */
  protected complain(message: string): void {
    process.stderr.write(`${this.config.bin}: ${printable(message)}\n`);
  }

  /** The exit status of what failed; a verb whose status is an answer has others. */
  protected failureStatus(_error: unknown): number {
    return 1;
  }

  override async catch(error: Error & { exitCode?: number }): Promise<void> {
    const failure = explain(error);
    const stopped = this.#stoppedBy !== undefined && hasCode(error, 'CANCELLED');
    const status = failure.status === 1 ? this.failureStatus(error) : failure.status;
    this.status = stopped ? this.#signalStatus() : status;
    if (this.jsonEnabled() && !this.streams) this.logJson(failure.document);
    else if (failure.message !== '')
      this.#print(stopped ? { ...failure, message: `stopped by ${this.#stoppedBy}` } : failure);
  }

  override async finally(error: Error | undefined): Promise<void> {
    for (const { signal, listener } of this.#listeners) process.off(signal, listener);
    process.exitCode = this.status;
    await super.finally(error);
  }

  override logJson(document: unknown): void {
    process.stdout.write(`${toJson(document)}\n`);
  }

  protected override toErrorJson(error: unknown): unknown {
    return explain(error).document;
  }

  /** What was printed last may fail after everything else has been done. That nobody reads to the end is no failure. */
  readonly #outputFailed = (error: NodeJS.ErrnoException): void => {
    if (error.code === 'EPIPE') return;
    this.complain(explain(wrapSystemError('write to standard output', error)).message);
    this.status = this.failureStatus(error);
    process.exitCode = this.status;
  };

  /** The status of a program that the signal ended: 128 + its number. */
  #signalStatus(): number {
    return 128 + (this.#stoppedBy === undefined ? 0 : constants.signals[this.#stoppedBy]);
  }

  #takesCommand(): boolean {
    return 'takesCommand' in this.ctor && this.ctor.takesCommand === true;
  }

  #stop(signal: (typeof stopSignals)[number]): void {
    if (signal === 'SIGINT' && this.commandOnTerminal && isInForeground()) return;
    if (this.#stoppedBy !== undefined) this.#insisted.abort();
    this.#stoppedBy ??= signal;
    this.#abort.abort(new Error(signal));
  }

  #print({ message, causes, usage }: Failure): void {
    this.complain(message);
    if (usage) this.complain(`try "${this.config.bin} ${this.id ?? ''} --help"`);
    const verbose = this.argv.includes('--verbose') || this.argv.includes('-v');
    if (verbose) for (const cause of causes) process.stderr.write(`  caused by: ${printable(cause)}\n`);
  }
}
