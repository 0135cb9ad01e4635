import type { LeftOut } from '../../task/left-out.js';
import { isText, pathText } from '../path-text.js';

/** For `--json`: paths that are no UTF-8 have escapes, as in the warnings. */
export function leftOutDocument(leftOut: readonly LeftOut[]): readonly object[] {
  return leftOut.map(({ path, reason }) => ({ path: isText(path) ? path.toString() : pathText(path), reason }));
}
