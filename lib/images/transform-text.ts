import { didYouMean, UserError } from "../errors.js";
import type { Colour } from "./decode.js";
import { normalizations, type Normalization } from "./normalization.js";
import { resizeFilters, type ResizeFilter } from "./resize.js";

/** One step of a transform. */
export type TransformStep =
  | { kind: "exif" }
  | { kind: "flatten"; colour: Colour }
  /** `size`: the short side, or height and width. `fast`: by sharp, near to but not equal to Pillow's. */
  | { kind: "resize"; size: number | HeightWidth; filter: ResizeFilter; fast: boolean }
  | { kind: "center_crop"; size: HeightWidth }
  | { kind: "pad_square"; colour: Colour }
  | { kind: "random_resized_crop"; size: HeightWidth; filter: ResizeFilter; scale: Range; ratio: Range }
  | { kind: "random_crop"; size: HeightWidth; padding: number }
  | { kind: "hflip"; probability: number }
  | { kind: "channels"; order: "rgb" | "bgr" }
  | ({ kind: "normalize" } & Normalization);

export interface HeightWidth {
  height: number;
  width: number;
}

type Range = readonly [number, number];

/** The filters that sharp has too. */
export const fastFilters = ["bilinear", "bicubic", "lanczos"] as const;

const colours: Record<string, Colour> = { white: [255, 255, 255], black: [0, 0, 0] };
const defaultScale: Range = [0.08, 1];
const defaultRatio: Range = [3 / 4, 4 / 3];

/**
 * The steps that a text names, e.g. `resize(256,bilinear)|center_crop(224)|normalize(imagenet)`.
 *
 * @throws UserError that names the step, its position, and the nearest name that there is.
 */
export function parseSteps(text: string): TransformStep[] {
  const steps = text.split("|").map((piece, index) => parseStep(piece.trim(), index + 1));
  checkOrder(steps);
  return steps;
}

/** The text of a step, the same for every way to write it; empty where the step does nothing. */
export function stepText(step: TransformStep): string {
  switch (step.kind) {
    case "exif":
      return "exif()";
    case "flatten":
    case "pad_square":
      return `${step.kind}(${colourText(step.colour)})`;
    case "resize": {
      const size = typeof step.size === "number" ? step.size : `${step.size.height}x${step.size.width}`;
      return `${step.fast ? "fast_resize" : "resize"}(${size},${step.filter})`;
    }
    case "center_crop":
      return `center_crop(${sizeText(step.size)})`;
    case "random_resized_crop": {
      const { size, filter, scale, ratio } = step;
      const option = (name: string, range: Range, usual: Range) =>
        range.join() === usual.join() ? "" : `,${name}=${range.join("..")}`;
      const options = option("scale", scale, defaultScale) + option("ratio", ratio, defaultRatio);
      return `random_resized_crop(${sizeText(size)},${filter}${options})`;
    }
    case "random_crop":
      return `random_crop(${sizeText(step.size)}${step.padding > 0 ? `,padding=${step.padding}` : ""})`;
    case "hflip":
      return step.probability === 0 ? "" : `hflip(${step.probability})`;
    case "channels":
      return step.order === "rgb" ? "" : "channels(bgr)";
    case "normalize":
      return `normalize(${normalizationText(step)})`;
  }
}

const parsers: Record<string, (values: StepArguments) => TransformStep> = {
  exif: () => ({ kind: "exif" }),
  flatten: (values) => ({ kind: "flatten", colour: values.colour() }),
  resize: (values) => ({
    kind: "resize",
    size: values.shortOrSize(),
    filter: values.filter(resizeFilters),
    fast: false,
  }),
  fast_resize: (values) => ({
    kind: "resize",
    size: values.shortOrSize(),
    filter: values.filter(fastFilters),
    fast: true,
  }),
  center_crop: (values) => ({ kind: "center_crop", size: values.size() }),
  pad_square: (values) => ({ kind: "pad_square", colour: values.colour() }),
  random_resized_crop: (values) => ({
    kind: "random_resized_crop",
    size: values.size(),
    filter: values.filter(resizeFilters),
    scale: values.range("scale", defaultScale, 1),
    ratio: values.range("ratio", defaultRatio, Infinity),
  }),
  random_crop: (values) => ({ kind: "random_crop", size: values.size(), padding: values.padding() }),
  hflip: (values) => ({ kind: "hflip", probability: values.probability() }),
  channels: (values) => ({ kind: "channels", order: values.word(["bgr", "rgb"]) }),
  normalize: (values) => ({ kind: "normalize", ...values.normalization() }),
};

function parseStep(piece: string, position: number): TransformStep {
  const [, name, inner] = /^([a-z_0-9]+)\s*\(([^()]*)\)$/i.exec(piece) ?? [];
  if (name === undefined || inner === undefined) {
    throw new UserError(
      `Expected a step like center_crop(224) at position ${position} of the transform but received ${JSON.stringify(piece)}`,
      { hint: `Steps are joined by "|". ${didYouMean(/^\w*/.exec(piece)![0], Object.keys(parsers))}` },
    );
  }
  const parser = Object.hasOwn(parsers, name) ? parsers[name] : undefined;
  if (!parser) {
    throw new UserError(
      `Expected the name of a step at position ${position} of the transform but received ${JSON.stringify(name)}`,
      { hint: didYouMean(name, Object.keys(parsers)) },
    );
  }
  const values = new StepArguments(inner, `step ${position} (${name}) of the transform`);
  const step = parser(values);
  values.end();
  return step;
}

/** What stands between the brackets of one step: values by position, then `name=value`. */
class StepArguments {
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

function checkOrder(steps: TransformStep[]): void {
  const decoding = (step: TransformStep) => step.kind === "exif" || step.kind === "flatten";
  steps.forEach((step, index) => {
    const before = steps.slice(0, index);
    const where = `step ${index + 1} (${step.kind}) of the transform`;
    const twice = (step.kind === "normalize" || decoding(step)) && before.some(({ kind }) => kind === step.kind);
    if (twice) throw new UserError(`Expected ${step.kind} once but received it again as ${where}`);
    if (decoding(step) && !before.every(decoding)) {
      throw new UserError(`Expected exif and flatten before all other steps but received ${where}`);
    }
    if (step.kind === "resize" && step.fast && !before.every(decoding)) {
      throw new UserError(`Expected fast_resize as the first step on the image but received it as ${where}`, {
        hint: "It is fast because it shrinks while it decodes; use resize here.",
      });
    }
    if (step.kind !== "channels" && before.some(({ kind }) => kind === "normalize")) {
      throw new UserError(
        `Expected normalize after the steps that work on 8-bit images but received ${where} behind it`,
      );
    }
  });
}

function sizeText({ height, width }: HeightWidth): string {
  return height === width ? String(height) : `${height}x${width}`;
}

function colourText(colour: Colour): string {
  const named = Object.entries(colours).find(([, value]) => value.join() === colour.join());
  return named ? named[0] : `#${colour.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

function normalizationText({ divisor, mean, std }: Normalization): string {
  const key = (value: Normalization) => [value.divisor, ...value.mean, ...value.std].join();
  const named = Object.entries(normalizations).find(([, value]) => key(value) === key({ divisor, mean, std }));
  return named ? named[0] : `mean=${mean.join("/")},std=${std.join("/")}${divisor === 1 ? ",range=255" : ""}`;
}
