// Compiles into dist/ and writes oclif's manifest, which makes every start quicker. The old dist/ serves until the new
// one is whole.
import { spawnSync } from 'node:child_process';
import { renameSync, rmSync } from 'node:fs';

const fresh = `dist.new-${process.pid}`;
const old = `dist.old-${process.pid}`;
// oclif's own program would ask the registry for a newer one of itself.
const env = { ...process.env, OCLIF_SKIP_NEW_VERSION_CHECK: 'true' };
const run = (...args) =>
  spawnSync(process.execPath, args, { env, stdio: ['ignore', 'inherit', 'inherit'] }).status ?? 1;

const compiled = run('node_modules/typescript/bin/tsc', '--project', 'tsconfig.build.json', '--outDir', fresh);
try {
  renameSync('dist', old);
} catch (error) {
  if (error.code !== 'ENOENT') throw error;
}
renameSync(fresh, 'dist');
rmSync(old, { recursive: true, force: true });
rmSync('oclif.manifest.json', { force: true });
process.exitCode = compiled === 0 ? run('node_modules/oclif/bin/run.js', 'manifest') : compiled;
