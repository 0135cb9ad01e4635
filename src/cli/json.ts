/** One JSON document, in which integers of any size are exact JSON numbers, as qemu-img writes them. */
export function toJson(value: unknown, indent = 2): string {
  return write(value, '\n', ' '.repeat(indent));
}

/** The same on one line: an event of a stream. */
export function toJsonLine(value: unknown): string {
  return write(value, '', '');
}

function write(value: unknown, newline: string, step: string): string {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if ('toJSON' in value && typeof value.toJSON === 'function') return write(value.toJSON(), newline, step);
  const inner = step === '' ? '' : newline + step;
  const array = Array.isArray(value);
  const items = array
    ? value.map((item: unknown) => write(item, inner, step))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined && typeof item !== 'function')
        .map(([key, item]) => `${JSON.stringify(key)}:${step === '' ? '' : ' '}${write(item, inner, step)}`);
  const [open, close] = array ? '[]' : '{}';
  return items.length === 0 ? `${open}${close}` : `${open}${inner}${items.join(`,${inner}`)}${newline}${close}`;
}
