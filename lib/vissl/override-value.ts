import { UserError, show } from "../errors.js";

/**
 * The value of a Hydra override: numbers, `true`, `false`, `null`, quoted text, lists `[a,b]`, dictionaries
 * `{a:1,b:[2]}`; anything else is text as it stands. Booleans and null are known in any case, as Hydra does.
 *
 * @param subject what the value is for, in messages.
 * @throws UserError where brackets or quotes do not close, and for several values (`a,b`), which are Hydra's sweep.
 */
export function parseOverrideValue(text: string, subject: string): unknown {
  const reader = new ValueReader(text, subject);
  const value = reader.value(",");
  reader.end();
  return value;
}

const number = /^[+-]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)(e[+-]?\d+)?$/i;

class ValueReader {
  private at = 0;

  constructor(
    private readonly text: string,
    private readonly subject: string,
  ) {}

  /** @param ends letters that end a value without quotes. */
  value(ends: string): unknown {
    this.skipBlanks();
    const letter = this.text[this.at];
    if (letter === "[") return this.list();
    if (letter === "{") return this.dictionary();
    if (letter === "'" || letter === '"') return this.quoted(letter);
    return plain(this.upTo(ends));
  }

  end(): void {
    this.skipBlanks();
    if (this.at === this.text.length) return;
    if (this.text[this.at] === ",") {
      throw new UserError(`Expected one value for ${this.subject} but received ${show(this.text)}`, {
        hint: "Hydra sweeps over several; here --lr, --weight-decay and the others of Training take lists.",
      });
    }
    throw this.wrong();
  }

  private list(): unknown[] {
    const items: unknown[] = [];
    this.at++;
    if (this.follows("]")) return items;
    for (;;) {
      items.push(this.value(",]"));
      if (this.follows("]")) return items;
      if (!this.follows(",")) throw this.wrong();
    }
  }

  private dictionary(): Record<string, unknown> {
    const entries: [string, unknown][] = [];
    this.at++;
    if (this.follows("}")) return {};
    for (;;) {
      const key = String(this.value(":,}"));
      if (!this.follows(":")) throw this.wrong();
      entries.push([key, this.value(",}")]);
      if (this.follows("}")) return Object.fromEntries(entries);
      if (!this.follows(",")) throw this.wrong();
    }
  }

  private quoted(quote: string): string {
    let text = "";
    for (this.at++; this.at < this.text.length; this.at++) {
      const letter = this.text[this.at]!;
      if (letter === quote) {
        this.at++;
        return text;
      }
      if (letter === "\\" && this.text[this.at + 1] === quote) this.at++;
      text += this.text[this.at];
    }
    throw this.wrong();
  }

  private upTo(ends: string): string {
    const start = this.at;
    while (this.at < this.text.length && !ends.includes(this.text[this.at]!)) this.at++;
    return this.text.slice(start, this.at).trim();
  }

  private follows(letter: string): boolean {
    this.skipBlanks();
    if (this.text[this.at] !== letter) return false;
    this.at++;
    return true;
  }

  private skipBlanks(): void {
    while (this.text[this.at] === " ") this.at++;
  }

  private wrong(): UserError {
    return new UserError(
      `Expected a value such as 0.1, [1,2], {a:1} or 'text' for ${this.subject} but received ${show(this.text)}`,
      { hint: "Quote the whole argument for the shell: 'config.A.B=[1,2]'." },
    );
  }
}

function plain(text: string): unknown {
  if (number.test(text)) return Number(text.replaceAll("_", ""));
  const word = text.toLowerCase();
  if (word === "true" || word === "false") return word === "true";
  return word === "null" ? null : text;
}
