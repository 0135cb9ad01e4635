import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { parsePskFile } from '../../src/nbd/tls-files.js';

describe('parsePskFile', () => {
  test('takes the users in order, past blank lines and comments, however lines end', () => {
    const keys = parsePskFile('# psktool\nalice:00ff\r\n\n  bob:ABCDEF  \n');
    expect([...keys]).toEqual([
      ['alice', Buffer.from([0, 255])],
      ['bob', Buffer.from([0xab, 0xcd, 0xef])],
    ]);
  });

  test.each([
    ['no colon', 'KEY'],
    ['no user', ':KEY'],
    ['no key', 'carol:'],
    ['half a byte', 'carol:KEYa'],
    ['no hexadecimal', 'carol:KEYzz'],
    ['two keys', 'carol:KEY:KEY'],
    ['a user who has a key', 'alice:KEY'],
    ['more than any key has', `carol:KEY${'00'.repeat(256)}`],
  ])('names the line with %s, and not the key', (_, line) => {
    const key = randomBytes(8).toString('hex');
    const parse = () => parsePskFile(`alice:00\n\n${line.replaceAll('KEY', key)}\n`);
    expect(parse).toThrow(expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(/^line 3: /) }));
    expect(parse).toThrow(expect.objectContaining({ message: expect.not.stringContaining(key) }));
  });
});
