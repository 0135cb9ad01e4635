import { run as runCommand } from '@oclif/core';
import { explain } from './failure.js';
import { toJson } from './json.js';
import { printable } from './printable.js';

/**
 * Starts the program: finds the command and runs it. Commands say what went wrong with them; what is left is a command
 * that does not exist.
 *
 * @param from the URL of the file that was started, from which oclif finds package.json
 */
export async function run(from: string): Promise<void> {
  try {
    await runCommand(process.argv.slice(2), from);
  } catch (error) {
    const { message, status, document } = explain(error);
    process.exitCode = status;
    if (process.argv.includes('--json')) process.stdout.write(`${toJson(document)}\n`);
    else if (message !== '') process.stderr.write(`disktool: ${printable(message)}\ndisktool: try "disktool --help"\n`);
  }
}
