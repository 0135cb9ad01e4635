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
const entryLimit = 400_000;

// None of them backtracks, however long the text is.
const space = /\s*/y;
const comment = /#[^\n]*/y;
const key = /[A-Za-z0-9_.+-]+/y;
const integer = /-?(?:0|[1-9]\d{0,18})(?![\w.])/y;
const plain = /[^"\\]*/y;

/**
 * Reads such a text. Each key stands once in its section.
 *
 * @param where of the text, for errors: `LVM2 metadata text at byte 0x1200 of …`
 * @throws {DiskError} CORRUPT, with the line
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
      const name = this.#match(key);
      if (name === undefined) throw this.#wrong('no key where one should be');
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
    const number = this.#match(integer);
    if (number !== undefined) return BigInt(number);
    if (this.#take('"')) return this.#string();
    throw this.#wrong('neither a string nor an integer where a value should be');
  }

  /** Behind its first quote. */
  #string(): string {
    let string = '';
    for (;;) {
      string += this.#match(plain) ?? '';
      if (this.#take('"')) return string;
      const escaped = this.#take('\\') ? this.text[this.#at++] : undefined;
      if (escaped === undefined) throw this.#wrong('a string without an end');
      string += escaped;
    }
  }

  /** White space and comments. */
  #skip(): void {
    do this.#match(space);
    while (this.#match(comment) !== undefined);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #take(character: string): boolean {
    if (this.text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #count(): void {
    if (++this.#entries > entryLimit) throw this.#wrong(`more than ${entryLimit} entries`);
  }

  #wrong(what: string): DiskError {
    const line = this.text.slice(0, this.#at).split('\n').length;
    return new DiskError('CORRUPT', `${this.where}: line ${line} has ${what}`, { structure: 'LVM2 metadata text' });
  }
}
