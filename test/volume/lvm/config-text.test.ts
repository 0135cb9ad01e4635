import { describe, expect, test } from 'vitest';
import { parseConfigText } from '../../../src/volume/lvm/config-text.js';

const parse = (text: string) => parseConfigText(text, 'a text');

describe('the text form of LVM2', () => {
  test('has sections, strings, integers, lists and comments', () => {
    const text = `# made by hand
      contents = "Text Format Volume Group"	# a comment
      empty = []
      vg-0.a { id = "a\\"b\\\\c" # }
        status = ["READ", "WRITE",] flags=[]
        segment1 { stripes = [ "pv0", 0 , # the first
          "pv1", 12 ] }
        low = -5 }`;
    const found = parse(text);
    expect(found.get('contents')).toBe('Text Format Volume Group');
    expect(found.get('empty')).toEqual([]);
    expect(found.get('vg-0.a')).toEqual(
      new Map<string, unknown>([
        ['id', 'a"b\\c'],
        ['status', ['READ', 'WRITE']],
        ['flags', []],
        ['segment1', new Map([['stripes', ['pv0', 0n, 'pv1', 12n]]])],
        ['low', -5n],
      ]),
    );
  });

  test('may have any key, those of every object too', () => {
    expect([...parse('__proto__ { constructor = 1 }').keys()]).toEqual(['__proto__']);
  });

  test.each([
    ['a = 1 a = 2', /line 1 has a second a in one section/],
    ['a {\n b = 1', /line 2 has the end of the text inside a section/],
    ['a = 1\n}', /line 2 has a } too many/],
    ['a', /neither = nor {/],
    ['= 1', /no key/],
    ['a = "b', /a string without an end/],
    ['a = "b\\', /a string without an end/],
    ['a = [1, 2', /a list without an end|neither a string/],
    ['a = [1 2]', /a list without an end/],
    ['a = [[1]]', /neither a string nor an integer/],
    ['a = 1.5', /neither a string nor an integer/],
    ['a = 0x10', /neither a string nor an integer/],
    ['a = 010', /neither a string nor an integer/],
    ['a = 12345678901234567890', /neither a string nor an integer/],
    ['a = b', /neither a string nor an integer/],
    ['a = \u0000', /neither a string nor an integer/],
    [`${'a {'.repeat(40)}${'}'.repeat(40)}`, /sections more than 16 deep/],
  ])('is refused when it is like %#', (text, why) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ name: 'DiskError', code: 'CORRUPT' }));
    expect(() => parse(text)).toThrow(why);
  });

  test('of more entries than any group has is not read', () => {
    const parsed = () => parse(`a = [${'1,'.repeat(200_001)}]`);
    expect(parsed).toThrow(expect.objectContaining({ name: 'DiskError', code: 'UNSUPPORTED' }));
  });

  test('may be long: four megabytes in one string, in one comment, and of white space', () => {
    const long = 'x'.repeat(4 << 20);
    expect(parse(`a = "${long}"`).get('a')).toBe(long);
    expect(parse(`#${long}\na = 1`).get('a')).toBe(1n);
    expect(parse(`${' '.repeat(4 << 20)}a = 1`).get('a')).toBe(1n);
    expect(parse(`${'#\n'.repeat(2 << 20)}a = 1`).get('a')).toBe(1n);
    expect(() => parse(`a = "${'\\"'.repeat(2 << 20)}`)).toThrow(/without an end/);
  });
});
