import type { TraceLines } from '../../task/serve/trace/trace-options.js';
import { toJsonLine } from '../json.js';
import { isText, pathText } from '../path-text.js';

type Format = Pick<TraceLines, 'style' | 'line' | 'lost'>;

/** `read f /dev/sda1 /Boot/BCD`, with the export's name before it where there are several. */
export const textLines: Format = {
  style: 'begins',
  line: ({ access, kind, device, path }, exported) => {
    const name = path === undefined ? '' : ` ${pathText(path)}`;
    return `${prefix(exported)}${access} ${kind} ${device}${name}\n`;
  },
  lost: (count) => `lost ${count}\n`,
};

/** A document a line. */
export const jsonLines: Format = {
  style: 'places',
  line: ({ access, kind, device, path, time, offset, length }, exported) => {
    const seconds = Number((time / 1000).toFixed(6));
    const owner = { kind, device, ...pathAsJson(path) };
    const document = { time: seconds, export: exported, operation: access, ...owner, offset, length };
    return `${toJsonLine(document)}\n`;
  },
  lost: (count) => `${toJsonLine({ lost: count })}\n`,
};

/** A path that is no UTF-8 has its bytes beside it. */
export function pathAsJson(path: Buffer | undefined): { path?: string; pathBase64?: string } {
  if (path === undefined) return {};
  const text = { path: path.toString() };
  return isText(path) ? text : { ...text, pathBase64: path.toString('base64') };
}

/** As the log has it. */
function prefix(exported: string | undefined): string {
  return exported === undefined ? '' : `${JSON.stringify(exported)} `;
}
