import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { OwnerIndexBuilder } from '../../../../src/task/block-map/owner-index.js';
import type { Locate } from '../../../../src/task/serve/trace/served-place.js';
import { Tracer } from '../../../../src/task/serve/trace/tracer.js';
import { Watch } from '../../../../src/task/serve/trace/watch.js';

const same: Locate = (offset, length, visit) => visit(offset, offset + length);

test('leaves signals and clients their turn while requests come faster than they are traced', async () => {
  let [going, taken] = [true, 0];
  const locate: Locate = (offset, length, visit) => {
    visit(offset, offset + length);
    taken++;
    if (going) watch.requests.note('read', offset + 512, 512);
  };
  const watch: Watch = new Watch(new Tracer(new OwnerIndexBuilder().finish(), locate));
  watch.requests.note('read', 0, 512);
  await sleep(100);
  going = false;
  await watch.end();
  expect(taken).toBeGreaterThan(0);
  expect(watch.tracer.tally.requests.read).toBe(taken);
});

test('lets requests go on when the tracer fails, and says once why the trace ends', async () => {
  const warnings: string[] = [];
  const locate: Locate = () => {
    throw new RangeError('Map maximum size exceeded');
  };
  const onWarning = (message: string) => warnings.push(message);
  const watch = new Watch(new Tracer(new OwnerIndexBuilder().finish(), locate), { onWarning });
  for (let i = 0; i < 50_000; i++) watch.requests.note('write', i, 1);
  await watch.end();
  expect(warnings).toEqual(['the trace ends: Map maximum size exceeded']);
});

test('waits for no room once the end has come, and says how many requests found none', async () => {
  const warnings: string[] = [];
  const onWarning = (message: string) => warnings.push(message);
  const watch = new Watch(new Tracer(new OwnerIndexBuilder().finish(), same), { onWarning });
  watch.requests.letGo();
  for (let i = 0; i < 20_000; i++) watch.requests.note('read', i, 1);
  await watch.end();
  await watch.end();
  const missed = 20_000 - watch.tracer.tally.requests.read;
  expect(missed).toBeGreaterThan(0);
  expect(warnings).toEqual([`${missed} of the last requests are not in the trace: they came faster than it is made`]);
});
