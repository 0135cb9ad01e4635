import { DiskError } from '../../error/disk-error.js';

/**
 * The text form of LVM2's configuration and metadata. lvm.conf(5), "SYNTAX":
 *
 *     section { … }    key = value    key = [ value, value ]    # a comment
 *
 * where a value is a string or an integer.
 */

export type Scalar = string | bigint;
export type Value = Scalar | readonly Scalar[];
/** The entries of a section, in the order of the text. */
export type Section = ReadonlyMap<string, Value | Section>;

export function isSection(entry: Value | Section | undefined): entry is Section {
  return entry instanceof Map;
}

/** Sections in sections: metadata has four. */
const depthLimit = 16;
/** Keys, values and sections: what a text of the largest size could make would fill the memory. */
const entryLimit = 200_000;

/** What a character can be a part of, by its code; none beyond ASCII. */
const spaces = codesOf(' \t\n\v\f\r');
const digits = codesOf('0123456789');
const keys = codesOf('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+-');

function codesOf(characters: string): Uint8Array {
  const codes = new Uint8Array(128);
  for (const character of characters) codes[character.charCodeAt(0)] = 1;
  return codes;
}

/**
 * Reads such a text. Each key stands once in its section.
 *
 * @param where of the text, for errors: `LVM2 metadata text at byte 0x1200 of …`
 * @throws {DiskError} CORRUPT, with the line; UNSUPPORTED for more entries than disktool reads
 */
export function parseConfigText(text: string, where: string): Section {
  return new Parser(text, where).file();
}

class Parser {
  #at = 0;
  #entries = 0;

  constructor(
    private readonly text: string,
    private readonly where: string,
  ) {}

  file(): Section {
    const section = this.#section(0);
    if (this.#at < this.text.length) throw this.#wrong('a } too many');
    return section;
  }

  /** Up to its end, or that of the text. Ends, since each round takes at least one character of the text. */
  #section(depth: number): Section {
    if (depth > depthLimit) throw this.#wrong(`sections more than ${depthLimit} deep`);
    const entries = new Map<string, Value | Section>();
    for (;;) {
      this.#skip();
      if (this.#at === this.text.length || this.text[this.#at] === '}') return entries;
      const name = this.#run(keys);
      if (name === '') throw this.#wrong('no key where one should be');
      if (entries.has(name)) throw this.#wrong(`a second ${name.slice(0, 64)} in one section`);
      this.#count();
      this.#skip();
      if (this.#take('{')) {
        entries.set(name, this.#section(depth + 1));
        if (!this.#take('}')) throw this.#wrong('the end of the text inside a section');
      } else if (this.#take('=')) entries.set(name, this.#value());
      else throw this.#wrong('a key with neither = nor { behind it');
    }
  }

  #value(): Value {
    this.#skip();
    if (!this.#take('[')) return this.#scalar();
    const values: Scalar[] = [];
    for (;;) {
      this.#skip();
      if (this.#take(']')) return values;
      values.push(this.#scalar());
      this.#skip();
      if (!this.#take(',') && this.text[this.#at] !== ']') throw this.#wrong('a list without an end');
    }
  }

  #scalar(): Scalar {
    this.#count();
    const number = this.#integer();
    if (number !== undefined) return number;
    if (this.#take('"')) return this.#string();
    throw this.#wrong('neither a string nor an integer where a value should be');
  }

  /** Decimal, as LVM2 writes it: no zero before it, and at most the 64 bits that it reads. */
  #integer(): bigint | undefined {
    const start = this.#at;
    const sign = this.#take('-') ? '-' : '';
    const number = this.#run(digits);
    const whole = number !== '' && number.length <= 19 && (number.length === 1 || number[0] !== '0');
    if (whole && this.#run(keys) === '') return BigInt(`${sign}${number}`);
    this.#at = start;
    return undefined;
  }

  /** Behind its first quote. */
  #string(): string {
    const pieces: string[] = [];
    for (;;) {
      const start = this.#at;
      while (this.#at < this.text.length && !'"\\'.includes(this.text.charAt(this.#at))) this.#at++;
      if (this.#at > start) pieces.push(this.text.slice(start, this.#at));
      if (this.#take('"')) return pieces.join('');
      const escaped = this.#take('\\') ? this.text[this.#at++] : undefined;
      if (escaped === undefined) throw this.#wrong('a string without an end');
      pieces.push(escaped);
    }
  }

  /** White space and comments. */
  #skip(): void {
    for (;;) {
      while (spaces[this.text.charCodeAt(this.#at)] === 1) this.#at++;
      if (this.text[this.#at] !== '#') return;
      const end = this.text.indexOf('\n', this.#at);
      this.#at = end === -1 ? this.text.length : end;
    }
  }

  /** As many characters as are of one kind. */
  #run(kind: Uint8Array): string {
    const start = this.#at;
    while (kind[this.text.charCodeAt(this.#at)] === 1) this.#at++;
    return this.text.slice(start, this.#at);
  }

  #take(character: string): boolean {
    if (this.text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #count(): void {
    if (++this.#entries > entryLimit) {
      throw DiskError.unsupported({
        structure: this.where,
        field: 'entries',
        actual: 'more',
        expected: `at most ${entryLimit}`,
      });
    }
  }

  #wrong(what: string): DiskError {
    const line = this.text.slice(0, this.#at).split('\n').length;
    return new DiskError('CORRUPT', `${this.where}: line ${line} has ${what}`, { structure: 'LVM2 metadata text' });
  }
}
