import { UserError } from "../errors.js";
import type { Random } from "../random.js";
import { decodeImage, decodeResized, type Colour } from "./decode.js";
import { centreCrop, randomResizedCropBox, shortSideSize, type Size } from "./geometry.js";
import type { ImageSource, RgbImage } from "./image.js";
import { normalizations, normalizeInto, sampleValues } from "./normalization.js";
import { crop, flip, pad, reverseChannels } from "./rearrange.js";
import { resizeImage } from "./resize.js";
import type { ResizeFilter } from "./resize-weights.js";
import { parseSteps, stepText, type HeightWidth, type TransformStep } from "./transform-text.js";

/** What is done to an image before a network sees it. */
export interface Transform {
  /** One text for all ways to write the same transform; it names stored features. */
  text: string;
  steps: readonly TransformStep[];
  /** Whether a step draws from chance. */
  random: boolean;
  /** The size of the result, [height, width]; undefined where it depends on the image and none is given. */
  outputSize(image?: Size): [number, number] | undefined;
}

/**
 * Reads a transform: steps joined by `|`, done from left to right.
 *
 * - `exif()`, `flatten(white)`: while decoding; a colour is `white`, `black` or `#rrggbb`
 * - `resize(256,bilinear)` (short side), `resize(224x224,bicubic)` (height × width): Pillow's, also `lanczos`, `box`,
 *   `hamming`; `fast_resize(…)`: sharp's
 * - `center_crop(224)`, `pad_square(white)`
 * - `random_resized_crop(224,bilinear,scale=0.08..1,ratio=0.75..1.3333)`, `random_crop(224,padding=4)`, `hflip(0.5)`
 * - `channels(bgr)`
 * - `normalize(imagenet)`, `clip`, `half`, `lite`, `bytes` (0 … 255), `none` (0 … 1, the default), or
 *   `normalize(mean=0.5/0.5/0.5,std=0.5/0.5/0.5)`; with `range=255` the numbers are meant for 0 … 255
 *
 * @throws UserError that names the step, its position and the nearest known name.
 */
export function parseTransform(text: string): Transform {
  const parsed = parseSteps(text);
  const steps = parsed.some(({ kind }) => kind === "normalize")
    ? parsed
    : [...parsed, { kind: "normalize" as const, ...normalizations.none! }];
  return {
    text: steps.map(stepText).filter(Boolean).join("|"),
    steps,
    random: steps.some((step) => isRandom(step)),
    outputSize: (image) => {
      const size = steps.reduce(sizeAfter, image);
      return size && [size.height, size.width];
    },
  };
}

export interface ApplyOptions {
  transform: Transform;
  source: ImageSource;
  /** Needed where the transform is random. */
  random?: Random;
}

/**
 * What the network sees of an image.
 *
 * @returns float32 [height, width, 3], equal to torchvision's ToTensor and Normalize but for the order of the axes.
 * @throws UserError where the image cannot be decoded or is too small for a random crop.
 */
export async function applyTransform(
  options: ApplyOptions,
): Promise<{ height: number; width: number; data: Float32Array }> {
  const image = await transformPixels(options);
  const data = new Float32Array(image.data.length);
  normalize(options.transform, image, data);
  return { height: image.height, width: image.width, data };
}

/**
 * As {@link applyTransform}, written to the start of `into`.
 *
 * @throws UserError where the result has another number of values than `into`.
 */
export async function applyTransformInto(options: ApplyOptions & { into: Float32Array }): Promise<void> {
  const image = await transformPixels(options);
  if (image.data.length !== options.into.length) {
    throw new UserError(
      `Expected ${options.into.length} values for an image but received ${image.height}×${image.width}×3`,
    );
  }
  normalize(options.transform, image, options.into);
}

/** The 8-bit image before `normalize`: all steps but that one. */
export async function transformPixels({ transform, source, random }: ApplyOptions): Promise<RgbImage> {
  if (transform.random && !random) throw new Error(`${transform.text} draws from chance and was given none`);
  const { steps } = transform;
  const exif = steps.some(({ kind }) => kind === "exif");
  const flatten = steps.find((step) => step.kind === "flatten")?.colour;
  const fast = steps.find((step) => step.kind === "resize" && step.fast);

  let image: RgbImage;
  if (fast?.kind === "resize") {
    const target = (size: Size) => resizedSize(size, fast.size);
    image = await decodeResized({ source, exif, flatten, target, kernel: sharpKernels[fast.filter] ?? "linear" });
  } else {
    image = await decodeImage({ source, exif, flatten });
  }
  for (const [index, step] of steps.entries()) {
    if (step === fast) continue;
    const next = steps[index + 1];
    // A resize computes only what the crop behind it keeps; the crop then finds nothing left to cut.
    if (step.kind === "resize" && next?.kind === "center_crop") image = resizeAndCrop(image, step, next.size);
    else image = applyStep(image, step, random);
  }
  return image;
}

const sharpKernels: Partial<Record<ResizeFilter, "linear" | "cubic" | "lanczos3">> = {
  bilinear: "linear",
  bicubic: "cubic",
  lanczos: "lanczos3",
};

function normalize(transform: Transform, image: RgbImage, into: Float32Array): void {
  let values = tables.get(transform);
  if (!values) {
    const step = transform.steps.find(({ kind }) => kind === "normalize");
    if (step?.kind !== "normalize") throw new Error(`${transform.text} has no normalize`);
    const at = transform.steps.indexOf(step);
    // Channels reversed after normalization: transformPixels has reversed them already, so the numbers follow.
    const reversed = transform.steps.slice(at).filter((later) => isReversal(later)).length % 2 === 1;
    const ordered = (numbers: readonly number[]) => (reversed ? [...numbers].reverse() : numbers);
    values = sampleValues({ divisor: step.divisor, mean: ordered(step.mean), std: ordered(step.std) });
    tables.set(transform, values);
  }
  normalizeInto(image, values, into);
}

const tables = new WeakMap<Transform, Float32Array>();

function isReversal(step: TransformStep): boolean {
  return step.kind === "channels" && step.order === "bgr";
}

function isRandom(step: TransformStep): boolean {
  if (step.kind === "hflip") return step.probability > 0 && step.probability < 1;
  return step.kind === "random_crop" || step.kind === "random_resized_crop";
}

function sizeAfter(size: Size | undefined, step: TransformStep): Size | undefined {
  switch (step.kind) {
    case "resize":
      return typeof step.size === "number" ? size && shortSideSize(size, step.size) : step.size;
    case "center_crop":
    case "random_crop":
    case "random_resized_crop":
      return step.size;
    case "pad_square": {
      const side = size && Math.max(size.width, size.height);
      return side === undefined ? undefined : { width: side, height: side };
    }
    case "exif":
    case "flatten":
    case "hflip":
    case "channels":
    case "normalize":
      return size;
  }
}

function resizedSize(image: Size, size: number | HeightWidth): Size {
  return typeof size === "number" ? shortSideSize(image, size) : { width: size.width, height: size.height };
}

function applyStep(image: RgbImage, step: TransformStep, random: Random | undefined): RgbImage {
  switch (step.kind) {
    case "resize":
      return resizeImage({ image, ...resizedSize(image, step.size), filter: step.filter });
    case "center_crop": {
      const { padding, box } = centreCrop(image, step.size);
      return crop(pad(image, padding, [0, 0, 0]), box);
    }
    case "pad_square":
      return padSquare(image, step.colour);
    case "random_resized_crop": {
      const box = randomResizedCropBox({ image, scale: step.scale, ratio: step.ratio, random: random! });
      return resizeImage({ image: crop(image, box), ...step.size, filter: step.filter });
    }
    case "random_crop":
      return randomCrop(image, step.size, step.padding, random!);
    case "hflip":
      return step.probability === 1 || (isRandom(step) && random!.uniform() < step.probability) ? flip(image) : image;
    case "channels":
      return isReversal(step) ? reverseChannels(image) : image;
    case "exif":
    case "flatten":
    case "normalize":
      return image;
  }
}

function resizeAndCrop(image: RgbImage, step: Extract<TransformStep, { kind: "resize" }>, kept: Size): RgbImage {
  const size = resizedSize(image, step.size);
  const { padding, box } = centreCrop(size, kept);
  const whole = Object.values(padding).some((pixels) => pixels > 0);
  return resizeImage({ image, ...size, filter: step.filter, window: whole ? undefined : box });
}

function randomCrop(image: RgbImage, size: Size, padding: number, random: Random): RgbImage {
  const padded = pad(image, { left: padding, top: padding, right: padding, bottom: padding }, [0, 0, 0]);
  const spare: Size = { width: padded.width - size.width, height: padded.height - size.height };
  if (spare.width < 0 || spare.height < 0) {
    throw new UserError(
      `Expected an image of at least ${size.width}×${size.height} for random_crop ` +
        `but received ${padded.width}×${padded.height}`,
      { hint: "Resize before the crop, or name a padding: random_crop(32,padding=4)." },
    );
  }
  const top = random.integer(spare.height + 1);
  return crop(padded, { left: random.integer(spare.width + 1), top, width: size.width, height: size.height });
}

function padSquare(image: RgbImage, colour: Colour): RgbImage {
  const side = Math.max(image.width, image.height);
  const [left, top] = [Math.floor((side - image.width) / 2), Math.floor((side - image.height) / 2)];
  return pad(image, { left, top, right: side - image.width - left, bottom: side - image.height - top }, colour);
}
