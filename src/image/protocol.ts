/**
 * Whether QEMU would take a name for a protocol and its argument, not for a path: `json:…` and `nbd:…` open anything
 * (block.c, path_has_protocol).
 */
export function hasProtocol(name: string): boolean {
  return /^[^/]*:/.test(name);
}
