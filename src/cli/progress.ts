import type { Progress, TaskContext } from '../task/context.js';
import { toJsonLine } from './json.js';
import { formatDuration, formatSize } from './quantities.js';

export type ProgressStyle = 'auto' | 'json' | 'none';

/** Milliseconds between two lines when they are piped. */
const lineInterval = 10_000;
/** Milliseconds between two JSON lines. */
const jsonInterval = 1000;
/** Milliseconds between two pictures of a bar. */
const barInterval = 100;

/**
 * Runs `body` and shows its progress on standard error: a bar on a terminal, a line at times when piped, a JSON line
 * each second, or nothing.
 */
export async function withProgress<Result>(
  title: string,
  style: ProgressStyle,
  context: TaskContext,
  body: (context: TaskContext) => Promise<Result>,
): Promise<Result> {
  if (style === 'none') return body(context);
  if (style === 'auto' && process.stderr.isTTY) return withBar(title, context, body);
  const line = style === 'json' ? jsonLine : plainLine;
  const show = throttled(style === 'json' ? jsonInterval : lineInterval, (progress, rate) => {
    process.stderr.write(`${line(progress, rate)}\n`);
  });
  return body({ ...context, onProgress: show });
}

async function withBar<Result>(
  title: string,
  context: TaskContext,
  body: (context: TaskContext) => Promise<Result>,
): Promise<Result> {
  const { Listr, ListrLogger, ProcessOutput } = await import('listr2');
  // Standard output is for results: the bar goes to standard error, and listr2 knows only its "stdout".
  const logger = new ListrLogger({ useIcons: true, processOutput: new ProcessOutput(process.stderr, process.stderr) });
  let result: { value: Result } | undefined;
  const list = new Listr(
    [
      {
        title,
        task: async (_, task) => {
          const show = throttled(barInterval, (progress, rate) => {
            task.title = progress.phase;
            task.output = bar(progress, rate);
          });
          result = { value: await body({ ...context, onProgress: show }) };
          task.title = title;
        },
      },
    ],
    {
      renderer: 'default',
      rendererOptions: { logger, collapseErrors: false, showErrorMessage: false },
      registerSignalListeners: false,
    },
  );
  await list.run();
  if (result === undefined) throw new Error('the task list ended before its task');
  return result.value;
}

/** Bytes a second since the phase began, and milliseconds left at that rate. */
interface Rate {
  readonly perSecond: bigint;
  readonly left: number | undefined;
}

/** Calls `show` at once for a new phase, then at most once an interval. */
function throttled(interval: number, show: (progress: Progress, rate: Rate) => void): (progress: Progress) => void {
  let phase: string | undefined;
  let began = 0;
  let doneBefore = 0n;
  let shown = 0;
  return (progress) => {
    const now = performance.now();
    if (progress.phase !== phase) {
      phase = progress.phase;
      began = now;
      doneBefore = progress.done;
    } else if (now - shown < interval) return;
    shown = now;
    const elapsed = Math.max(1, Math.round(now - began));
    const perSecond = ((progress.done - doneBefore) * 1000n) / BigInt(elapsed);
    const { total } = progress;
    const left =
      total === undefined || perSecond <= 0n ? undefined : Number(((total - progress.done) * 1000n) / perSecond);
    show(progress, { perSecond, left });
  };
}

function plainLine({ phase, done, total }: Progress, rate: Rate): string {
  if (total === undefined || total === 0n) return done === 0n ? phase : `${phase}: ${formatSize(done)}`;
  return `${phase}: ${percent(done, total)} of ${formatSize(total)}${speed(rate)}`;
}

function jsonLine({ phase, done, total }: Progress, { perSecond, left }: Rate): string {
  return toJsonLine({ phase, done, total, bytesPerSecond: perSecond, secondsLeft: left && Math.round(left / 1000) });
}

function bar({ done, total }: Progress, rate: Rate): string {
  if (total === undefined || total === 0n) return `${formatSize(done)}${speed(rate)}`;
  const width = 30;
  const filled = Number((done * BigInt(width)) / total);
  const picture = `${'█'.repeat(filled)}${'░'.repeat(Math.max(0, width - filled))}`;
  return `${picture} ${percent(done, total)} of ${formatSize(total)}${speed(rate)}`;
}

function percent(done: bigint, total: bigint): string {
  return `${(done * 100n) / total} %`;
}

function speed({ perSecond, left }: Rate): string {
  if (perSecond <= 0n) return '';
  return `, ${formatSize(perSecond)}/s${left === undefined ? '' : `, ${formatDuration(left)} left`}`;
}
