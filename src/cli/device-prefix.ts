/**
 * Takes a device off the front of what is on it: `/dev/sda2:/etc/passwd`, `vda2:list`, `LABEL=root:/etc/*`. Without one,
 * all of the text is the rest.
 */
export function splitDevice(text: string): { readonly device: string | undefined; readonly rest: string } {
  const name = String.raw`/dev/[^:]+|(?:LABEL|UUID|PARTLABEL|PARTUUID)=[^:]+|(?:[shv]d|xvd)[a-z]+\d*|\d+`;
  const [, device, rest] = new RegExp(`^(${name}):(.+)$`, 's').exec(text) ?? [];
  return rest === undefined ? { device: undefined, rest: text } : { device, rest };
}
