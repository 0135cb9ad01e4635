import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * The path of a file that another process or thread is to run: compiled, also when whoever asks is run from its source.
 *
 * @param beside `import.meta.url` of a module in the same folder
 * @param name of the compiled file: `freeze-guard.js`
 */
export function compiledFile(beside: string, name: string): string {
  const here = fileURLToPath(new URL(name, beside));
  return existsSync(here) ? here : here.replace(/\/(?=src\/(?!.*\/src\/))/, '/dist/');
}
