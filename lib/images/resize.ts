import { expected, UserError } from "../errors.js";
import type { Box, Size } from "./geometry.js";
import type { RgbImage } from "./image.js";
import { packRows, crop } from "./rearrange.js";
import { resizeKernel, type ResizeKernel } from "./resize-kernel.js";
import { extent, longest, part, resizeWeights, type ResizeFilter, type Weights } from "./resize-weights.js";

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

  const across = resizeWeights({ size: image.width, from: box.left, to: box.left + box.width, out: width, filter });
  const down = resizeWeights({ size: image.height, from: box.top, to: box.top + box.height, out: height, filter });
  const columns = across && part(across, window.left, window.width);
  const rows = down && part(down, window.top, window.height);
  return runPasses({ image, size: { width, height }, columns, rows, window });
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
    used = Math.ceil((used + bytes + 16) / 16) * 16;
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

function checkInside(box: Box, { width, height }: Size, subject: string): void {
  const { left, top } = box;
  const inside =
    left >= 0 && top >= 0 && box.width > 0 && box.height > 0 && left + box.width <= width && top + box.height <= height;
  if (!inside) {
    throw new UserError(`Expected a box inside ${width}×${height} for ${subject} but received ${JSON.stringify(box)}`);
  }
}
