import { expected, UserError } from "../errors.js";
import type { Box, Size } from "./geometry.js";
import type { RgbImage } from "./image.js";
import { precisionBits, resizeKernel, type ResizeKernel } from "./resize-kernel.js";

export const resizeFilters = ["bilinear", "bicubic", "lanczos", "box", "hamming"] as const;
export type ResizeFilter = (typeof resizeFilters)[number];

export interface ResizeOptions {
  image: RgbImage;
  /** Size of the result, at least 1 × 1. */
  width: number;
  height: number;
  filter: ResizeFilter;
  /** The part of the image that becomes the result, inside it; fractions of pixels are allowed. Default: all of it. */
  box?: Box;
  /** The part of the result that is wanted, in whole pixels; the rest is not computed. Default: all of it. */
  window?: Box;
}

/**
 * Resizes as Pillow's `Image.resize` does, to the bit (antialiased; two passes with 8-bit samples between them; a pass
 * that changes nothing is skipped; `Resample.c`). The horizontal pass comes first, but for images whose height shrinks
 * by more than twice as many pixels as their width: there Pillow 13 begins with the vertical one, and rounds otherwise
 * than the versions before it.
 *
 * @returns the result, or its `window`.
 * @throws UserError where a size is no positive integer or a box does not lie inside its image.
 */
export function resizeImage(options: ResizeOptions): RgbImage {
  const { image, width, height, filter } = options;
  for (const [name, size] of Object.entries({ width, height })) {
    if (!Number.isInteger(size) || size < 1) throw expected("a positive integer", `the ${name} of a resize`, size);
  }
  const whole = { left: 0, top: 0, width: image.width, height: image.height };
  const { box = whole, window = { left: 0, top: 0, width, height } } = options;
  checkInside(box, image, "the box of a resize");
  checkInside(window, { width, height }, "the window of a resize");

  const across = weights({ size: image.width, from: box.left, to: box.left + box.width, out: width, filter });
  const down = weights({ size: image.height, from: box.top, to: box.top + box.height, out: height, filter });
  const columns = across && part(across, window.left, window.width);
  const rows = down && part(down, window.top, window.height);
  return runPasses({ image, size: { width, height }, columns, rows, window });
}

/** For each output position the first input position that it sees, and the weights from there on. */
interface Weights {
  first: Int32Array;
  /** Fixed point, `precisionBits` of fraction. */
  factors: Int32Array[];
}

const supports: Record<ResizeFilter, number> = { box: 0.5, bilinear: 1, hamming: 1, bicubic: 2, lanczos: 3 };

const sinc = (x: number) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

// Pillow writes the constants of hamming in single precision.
const curves: Record<ResizeFilter, (x: number) => number> = {
  box: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0),
  bilinear: (x) => Math.max(0, 1 - Math.abs(x)),
  hamming: (x) => (Math.abs(x) < 1 ? sinc(x) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(x * Math.PI)) : 0),
  bicubic: (signed) => {
    const x = Math.abs(signed);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
  },
  lanczos: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0),
};

const remembered = new Map<string, Weights>();

/** @returns undefined where the pass would change nothing. */
function weights(options: {
  size: number;
  from: number;
  to: number;
  out: number;
  filter: ResizeFilter;
}): Weights | undefined {
  const { size, from, to, out } = options;
  if (out === size && from === 0 && to === size) return undefined;
  // Photographs come in few sizes, and windows and weights cost as much as a tenth of the passes.
  const key = Object.values(options).join();
  let found = remembered.get(key);
  if (!found) {
    found = computeWeights(options);
    if (remembered.size >= 64) remembered.clear();
    remembered.set(key, found);
  }
  return found;
}

function computeWeights({ size, from, to, out, filter }: Parameters<typeof weights>[0]): Weights {
  // Pillow holds the box in single precision.
  const start = Math.fround(from);
  const scale = Math.fround(Math.fround(to) - start) / out;
  const stretch = Math.max(scale, 1);
  const support = supports[filter] * stretch;
  const curve = curves[filter];
  const first = new Int32Array(out);
  const factors: Int32Array[] = [];
  for (let i = 0; i < out; i++) {
    const centre = start + (i + 0.5) * scale;
    const low = Math.max(0, Math.trunc(centre - support + 0.5));
    const high = Math.min(size, Math.trunc(centre + support + 0.5));
    const exact = new Float64Array(high - low);
    let sum = 0;
    for (let x = 0; x < exact.length; x++) {
      exact[x] = curve((x + low - centre + 0.5) * (1 / stretch));
      sum += exact[x]!;
    }
    first[i] = low;
    factors.push(Int32Array.from(exact, (value) => fixedPoint(sum === 0 ? value : value / sum)));
  }
  return { first, factors };
}

function fixedPoint(value: number): number {
  return Math.trunc(value * (1 << precisionBits) + (value < 0 ? -0.5 : 0.5));
}

function part({ first, factors }: Weights, start: number, length: number): Weights {
  return { first: first.subarray(start, start + length), factors: factors.slice(start, start + length) };
}

let sharedKernel: ResizeKernel | undefined;
/** Memory beyond this is given back after one image. */
const keptBytes = 64 << 20;

function runPasses(options: { image: RgbImage; size: Size; columns?: Weights; rows?: Weights; window: Box }): RgbImage {
  const { image, size, columns, rows, window } = options;
  const { width, height } = window;
  if (!columns && !rows) return crop(image, window);

  // Only the part of the input that the passes will look at.
  const across = columns ? extent(columns) : { start: window.left, length: width };
  const down = rows ? extent(rows) : { start: window.top, length: height };
  const inputStride = image.width * 3;
  const widest = Math.ceil((Math.max(width, across.length) * 3) / 16) * 16;
  const tableBytes = (weights?: Weights) => (weights ? (2 + longest(weights)) * 4 * weights.factors.length : 0);
  const inputBytes = down.length * inputStride;
  const needed = tableBytes(columns) + tableBytes(rows) + inputBytes + widest * (down.length + 2 * height) + 8 * 16;
  const kernel = needed <= keptBytes ? (sharedKernel ??= resizeKernel()) : resizeKernel();
  kernel.reserve(needed);
  const memory = kernel.bytes();
  let used = 0;
  const place = (bytes: number) => {
    const at = used;
    // Kernels write whole lanes: up to 15 bytes too many.
    used = (used + bytes + 31) & ~15;
    return at;
  };
  const placeTable = (data: Uint8Array) => {
    const at = place(data.length);
    memory.set(data, at);
    return at;
  };

  let plane = {
    at: place(inputBytes) + across.start * 3,
    stride: inputStride,
    columns: across.length,
    rows: down.length,
  };
  memory.set(
    image.data.subarray(down.start * inputStride, (down.start + down.length) * inputStride),
    plane.at - across.start * 3,
  );

  const horizontal = (weights: Weights) => {
    const { data, entryBytes } = filterTable(weights, 3, across.start);
    const stride = Math.ceil((width * 3) / 16) * 16;
    const to = place(stride * plane.rows);
    kernel.horizontal({
      ...{ from: plane.at, fromStride: plane.stride, to, toStride: stride, rows: plane.rows },
      ...{ table: placeTable(data), entries: width, entryBytes },
    });
    plane = { at: to, stride, columns: width, rows: plane.rows };
  };
  const vertical = (weights: Weights) => {
    const { data, entryBytes } = filterTable(weights, plane.stride, down.start);
    const chunks = Math.ceil((plane.columns * 3) / 16);
    const to = place(chunks * 16 * height);
    kernel.vertical({
      ...{ from: plane.at, fromStride: plane.stride, to, chunks },
      ...{ table: placeTable(data), entries: height, entryBytes },
    });
    plane = { at: to, stride: chunks * 16, columns: plane.columns, rows: height };
  };
  // Since version 13 Pillow begins with the height where that shrinks by far more pixels than the width.
  const verticalFirst = size.height < image.height && image.height - size.height > 2 * (image.width - size.width);
  if (rows && verticalFirst) vertical(rows);
  if (columns) horizontal(columns);
  if (rows && !verticalFirst) vertical(rows);
  return { width, height, data: packRows(memory, plane.at, plane.stride, width, height) };
}

function extent({ first, factors }: Weights): { start: number; length: number } {
  const start = first.reduce((least, position) => Math.min(least, position));
  const end = first.reduce((most, position, i) => Math.max(most, position + factors[i]!.length), 0);
  return { start, length: end - start };
}

function longest({ factors }: Weights): number {
  return factors.reduce((most, { length }) => Math.max(most, length), 0);
}

/** Weights as the kernel reads them; `unit` is the distance in bytes of two samples, `origin` the first one there. */
function filterTable(
  { first, factors }: Weights,
  unit: number,
  origin: number,
): { data: Uint8Array; entryBytes: number } {
  const entry = 2 + longest({ first, factors });
  const table = new Int32Array(entry * factors.length);
  factors.forEach((values, i) => {
    table[i * entry] = (first[i]! - origin) * unit;
    table[i * entry + 1] = values.length * 4;
    table.set(values, i * entry + 2);
  });
  return { data: new Uint8Array(table.buffer), entryBytes: entry * 4 };
}

function packRows(memory: Uint8Array, at: number, stride: number, width: number, height: number): Uint8Array {
  if (stride === width * 3) return memory.slice(at, at + stride * height);
  const packed = new Uint8Array(width * 3 * height);
  for (let y = 0; y < height; y++) {
    packed.set(memory.subarray(at + y * stride, at + y * stride + width * 3), y * width * 3);
  }
  return packed;
}

/** The pixels of `box`, in whole pixels and inside the image, as an image of their own. */
export function crop(image: RgbImage, box: Box): RgbImage {
  const { left, top, width, height } = box;
  if (width === image.width && height === image.height) return image;
  const start = (top * image.width + left) * 3;
  return { width, height, data: packRows(image.data, start, image.width * 3, width, height) };
}

function checkInside(box: Box, { width, height }: Size, subject: string): void {
  const { left, top } = box;
  const inside =
    left >= 0 && top >= 0 && box.width > 0 && box.height > 0 && left + box.width <= width && top + box.height <= height;
  if (!inside) {
    throw new UserError(`Expected a box inside ${width}×${height} for ${subject} but received ${JSON.stringify(box)}`);
  }
}
