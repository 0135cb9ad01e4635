// Writes man/ from oclif's manifest, which the build has just made.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { manPages, newestRelease } from '../dist/src/cli/man-page.js';

const { commands } = JSON.parse(readFileSync('oclif.manifest.json', 'utf8'));
const { description } = JSON.parse(readFileSync('package.json', 'utf8'));
const release = newestRelease(readFileSync('CHANGELOG.md', 'utf8'));
mkdirSync('man', { recursive: true });
for (const file of readdirSync('man')) rmSync(`man/${file}`);
for (const { file, text } of manPages(Object.values(commands), release, description))
  writeFileSync(`man/${file}`, text);
