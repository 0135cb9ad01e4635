import fc from 'fast-check';
import { expect, test } from 'vitest';
import { InputBuffer } from '../../src/nbd/input-buffer.js';

test('gives the bytes back in order, however they come and go', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 20 }),
      fc.array(fc.tuple(fc.constantFrom('take', 'moveTo', 'skip'), fc.nat(70)), { maxLength: 30 }),
      (chunks, steps) => {
        const all = Buffer.concat(chunks);
        const input = new InputBuffer();
        for (const chunk of chunks) input.push(Buffer.from(chunk));
        let at = 0;
        for (const [how, size] of steps) {
          const there = Math.min(size, all.length - at);
          if (how === 'take') {
            const taken = input.take(size);
            expect(taken === undefined).toBe(size > there);
            if (taken !== undefined) expect(taken.equals(all.subarray(at, at + size))).toBe(true);
            at += taken?.length ?? 0;
          } else if (how === 'moveTo') {
            const target = Buffer.alloc(size);
            expect(input.moveTo(target)).toBe(there);
            expect(target.subarray(0, there).equals(all.subarray(at, at + there))).toBe(true);
            at += there;
          } else {
            expect(input.skip(size)).toBe(there);
            at += there;
          }
          expect(input.length).toBe(all.length - at);
        }
      },
    ),
  );
});
