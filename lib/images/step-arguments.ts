import { didYouMean, UserError } from "../errors.js";
import type { Colour } from "./decode.js";
import { normalizations, type Normalization } from "./normalization.js";
import type { ResizeFilter } from "./resize-weights.js";
import type { HeightWidth, Range } from "./transform-text.js";

/** Colours that have a name. */
export const colours: Record<string, Colour> = { white: [255, 255, 255], black: [0, 0, 0] };

/** What stands between the brackets of one step: values by position, then `name=value`. */
export class StepArguments {
  private readonly values: string[];
  private readonly named = new Map<string, string>();

  constructor(
    inner: string,
    private readonly step: string,
  ) {
    const pieces = inner.split(",").map((piece) => piece.trim());
    this.values = pieces.filter((piece) => piece !== "" && !piece.includes("="));
    for (const piece of pieces.filter((candidate) => candidate.includes("="))) {
      const [name, value] = piece.split("=").map((part) => part.trim());
      this.named.set(name!, value!);
    }
  }

  shortOrSize(): number | HeightWidth {
    const text = this.next("a size");
    return /^\d+$/.test(text) ? this.side(text, text) : this.heightWidth(text);
  }

  size(): HeightWidth {
    const text = this.next("a size");
    if (!/^\d+$/.test(text)) return this.heightWidth(text);
    const side = this.side(text, text);
    return { height: side, width: side };
  }

  filter<Name extends ResizeFilter>(known: readonly Name[]): Name {
    return this.values.length > 0 ? this.word(known) : ("bilinear" as Name);
  }

  word<Name extends string>(known: readonly Name[]): Name {
    const text = this.next(`one of ${known.join(", ")}`);
    const found = known.find((name) => name === text);
    if (!found) throw this.wrong(`one of ${known.join(", ")}`, text, didYouMean(text, known));
    return found;
  }

  colour(): Colour {
    const text = this.values.shift() ?? "white";
    const hexadecimal = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
    if (hexadecimal) {
      const [red, green, blue] = hexadecimal.slice(1).map((digits) => Number.parseInt(digits, 16));
      return [red!, green!, blue!];
    }
    const colour = Object.hasOwn(colours, text) ? colours[text] : undefined;
    if (!colour) throw this.wrong("white, black or a colour like #7f7f7f", text);
    return colour;
  }

  probability(): number {
    const text = this.values.shift() ?? "0.5";
    const value = Number(text);
    if (!(value >= 0 && value <= 1)) throw this.wrong("a probability in [0, 1]", text);
    return value;
  }

  padding(): number {
    const text = this.take("padding") ?? "0";
    if (!/^\d{1,4}$/.test(text)) throw this.wrong("a number of pixels for padding", text);
    return Number(text);
  }

  range(name: string, usual: Range, most: number): Range {
    const text = this.take(name);
    if (text === undefined) return usual;
    const ends = text.split("..").map(fraction);
    const [low, high] = ends;
    if (ends.length !== 2 || !(low! > 0 && low! <= high! && high! <= most)) {
      throw this.wrong(`two numbers like ${name}=${usual.map((end) => Number(end.toFixed(4))).join("..")}`, text);
    }
    // 0.75..1.3333 is how people write 3/4..4/3.
    return usual.every((end, i) => Math.abs(end - ends[i]!) < 1e-4) ? usual : [low!, high!];
  }

  normalization(): Normalization {
    const mean = this.triple("mean");
    const std = this.triple("std");
    const names = Object.keys(normalizations);
    if (mean && std) {
      if (std.some((value) => value <= 0)) throw this.wrong("positive numbers for std", std.join("/"));
      const range = this.take("range") ?? "1";
      if (range !== "1" && range !== "255") throw this.wrong("range=1 or range=255", range);
      return { divisor: range === "1" ? 255 : 1, mean, std };
    }
    if (mean ?? std) throw this.wrong("mean=… and std=… together", mean ? "only mean" : "only std");
    return normalizations[this.word(names)]!;
  }

  end(): void {
    const left = [...this.values, ...[...this.named].map(([name, value]) => `${name}=${value}`)];
    if (left.length > 0) throw this.wrong("nothing more", left.join(","));
  }

  private triple(name: string): number[] | undefined {
    const text = this.take(name);
    if (text === undefined) return undefined;
    const numbers = text.split("/").map((part) => (part.trim() === "" ? NaN : Number(part)));
    if (numbers.length !== 3 || !numbers.every(Number.isFinite)) throw this.wrong(`${name}=R/G/B, three numbers`, text);
    return numbers;
  }

  private take(name: string): string | undefined {
    const value = this.named.get(name);
    this.named.delete(name);
    return value;
  }

  private next(what: string): string {
    const value = this.values.shift();
    if (value === undefined) throw this.wrong(what, undefined);
    return value;
  }

  private heightWidth(text: string): HeightWidth {
    const [, height, width] = /^(\d+)x(\d+)$/.exec(text) ?? [];
    if (!height || !width) throw this.wrong("a size like 224, or height × width like 224x224", text);
    return { height: this.side(height, text), width: this.side(width, text) };
  }

  private side(digits: string, text: string): number {
    const side = Number(digits);
    if (side < 1 || side > 16384) throw this.wrong("a size from 1 to 16384 pixels", text);
    return side;
  }

  private wrong(what: string, received: string | undefined, hint?: string): UserError {
    const shown = received === undefined ? "nothing" : JSON.stringify(received);
    return new UserError(`Expected ${what} for ${this.step} but received ${shown}`, { hint });
  }
}

function fraction(text: string): number {
  const parts = text.split("/").map((part) => (part.trim() === "" ? NaN : Number(part)));
  return parts.length === 2 ? parts[0]! / parts[1]! : parts.length === 1 ? parts[0]! : NaN;
}
