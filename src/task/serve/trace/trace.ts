import type { TaskContext } from '../../context.js';
import type { ExportOptions, OpenExport } from '../open-export.js';
import { ReadaheadLists } from './readahead.js';
import { summaryOf, type TraceSummary } from './summary.js';
import type { TraceOptions } from './trace-options.js';
import { TraceOutput } from './trace-output.js';
import type { TraceRun } from './tracer.js';

/** Where a trace is told, from before the first disk is opened until after the last one is closed. */
export class Trace {
  #finished = false;

  private constructor(
    private readonly options: TraceOptions,
    private readonly output: TraceOutput | undefined,
    private readonly lists: ReadaheadLists,
    private readonly context: TaskContext,
  ) {}

  /** @throws {DiskError} what opening what is written throws */
  static async open(options: TraceOptions, context: TaskContext): Promise<Trace> {
    const lists = await ReadaheadLists.open(options.readahead ?? [], context);
    try {
      const output = options.lines && (await TraceOutput.open({ ...options.lines, ...context }));
      return new Trace(options, output, lists, context);
    } catch (error) {
      await lists.discard();
      throw error;
    }
  }

  /**
   * Has an export watched.
   *
   * @param count of exports: of several, each line has the name
   */
  watching(wanted: ExportOptions, count: number): ExportOptions {
    const { output } = this;
    const { lines, readahead = [] } = this.options;
    const name = count === 1 ? undefined : wanted.name;
    const tell = lines && output && ((run: TraceRun) => output.write(lines.line(run, name)));
    const devices = readahead.flatMap(({ device }) => device ?? []);
    return { ...wanted, uses: { ...wanted.uses, devices, watch: { tell, style: lines?.style } } };
  }

  /** Once no client is left: tells what remains to be told. */
  async finish(opened: readonly OpenExport[]): Promise<TraceSummary[]> {
    this.#finished = true;
    const summaries: TraceSummary[] = [];
    for (const { exported, used } of opened) {
      if (used?.watch === undefined) continue;
      const { watch, deviceNames } = used;
      await watch.end();
      await this.lists.write(watch.tracer, (name) => deviceNames.get(name), this.context);
      summaries.push(summaryOf(watch.tracer, exported.name, exported.device.facts.size));
    }
    return summaries;
  }

  /** Waits for a slow reader, if not for long. */
  async close(): Promise<void> {
    await this.output?.end(this.#finished);
    await this.lists.discard();
  }
}
