import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { blake2b256 } from '../../src/binary/blake2b.js';
import { xxhash64 } from '../../src/binary/xxhash64.js';
import { needs } from '../support/needs.js';
import { run } from '../support/run.js';

/** The same bytes each time, and none like those before. */
function bytesOf(length: number): Buffer {
  const parts = Array.from({ length: Math.ceil(length / 32) }, (_, i) => createHash('sha256').update(`${i}`).digest());
  return Buffer.concat(parts).subarray(0, length);
}

const lengths = [0, 1, 3, 4, 7, 8, 31, 32, 33, 63, 64, 127, 128, 129, 255, 256, 4064, 16_352];

needs({ programs: ['python3'] })("blake2b-256 is what Python's hashlib says", async () => {
  const script = `import hashlib, sys
for line in sys.argv[1:]: print(hashlib.blake2b(bytes.fromhex(line), digest_size=32).hexdigest())`;
  const inputs = lengths.map(bytesOf);
  const told = await run('/usr/bin/python3', ['-c', script, ...inputs.map((bytes) => bytes.toString('hex'))]);
  expect(inputs.map((bytes) => Buffer.from(blake2b256(bytes)).toString('hex'))).toEqual(told.split('\n'));
});

test('xxhash64 is what XXH64 of libxxhash 0.8.1 says', () => {
  const told = [
    ...['ef46db3751d8e999', 'f3956634dfceb1b6', '1bffb0decffd197e', '12b73787fa39e7eb', 'a4ba6be33690e37b'],
    ...['9f97163cee56aa28', 'e380df9acd046fc4', '3bdc861640d346e8', '807494322cb9464b', 'fb0b60a101d61042'],
    ...['bc2fe8a4891033ee', '787e16b3c8d4b48c', 'a8f4a10b5801cf8c', 'ab86037e6383efe7', 'f5a4cd2a8542e732'],
    ...['7b7896dcbfa75f11', '3a6d5148a20a6afa', '50ff0df378018a0e'],
  ];
  expect(lengths.map((length) => xxhash64(bytesOf(length)).toString(16).padStart(16, '0'))).toEqual(told);
});
