import { didYouMean, UserError } from "../errors.js";
import type { Colour } from "./decode.js";
import { normalizations, type Normalization } from "./normalization.js";
import { resizeFilters, type ResizeFilter } from "./resize-weights.js";
import { colours, StepArguments } from "./step-arguments.js";

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

/** From, to. */
export type Range = readonly [number, number];

/** The filters that sharp has too. */
const fastFilters = ["bilinear", "bicubic", "lanczos"] as const;

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
