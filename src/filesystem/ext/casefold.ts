/**
 * Whether two names are one in a directory that folds case. The kernel folds by the tables of one version of Unicode,
 * some letters into several (ß into ss); here each character is decomposed and takes its small letter, which is the same
 * for all but such letters and a few of their kind.
 *
 * @returns false when either is no UTF-8: such names are compared byte by byte
 */
export function sameFolded(a: Uint8Array, b: Uint8Array): boolean {
  const [one, other] = [fold(a), fold(b)];
  return one !== undefined && one === other;
}

function fold(name: Uint8Array): string | undefined {
  const text = Buffer.from(name).toString('utf8');
  if (Buffer.compare(Buffer.from(text), name) !== 0) return undefined;
  // One by one: a whole word would have its last sigma in another form.
  return [...text.normalize('NFD')].map((character) => character.toLowerCase()).join('');
}
