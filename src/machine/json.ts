/** Reading what a virtual machine has sent: nothing in it is believed before it has been looked at. */

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An object of a JSON document, or undefined when it is none. */
export function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The words of an `error` member (docs/interop/qmp-spec, "Commands Responses"). */
export function errorOf(message: JsonObject): { readonly class: string; readonly desc: string } | undefined {
  const { error } = message;
  if (!isObject(error)) return undefined;
  const { class: kind, desc } = error;
  return {
    class: typeof kind === 'string' ? kind : 'GenericError',
    desc: typeof desc === 'string' ? desc : JSON.stringify(error),
  };
}
