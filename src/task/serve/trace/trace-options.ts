import type { ReadaheadList } from './readahead.js';
import type { TraceOutputOptions } from './trace-output.js';
import type { RunStyle, TraceRun } from './tracer.js';

/** The lines of a trace. */
export interface TraceLines {
  readonly to: TraceOutputOptions['to'];
  readonly style: RunStyle;
  /**
   * The line of a run, with its end.
   *
   * @param exported the name of the export, where there are several
   */
  readonly line: (run: TraceRun, exported: string | undefined) => string;
  /** The line that stands for so many others. */
  readonly lost: (count: number) => string;
}

/** What is told of the accesses to what is served. */
export interface TraceOptions {
  readonly lines?: TraceLines | undefined;
  /** Lists of the files that were read: of one export. */
  readonly readahead?: readonly ReadaheadList[] | undefined;
}
