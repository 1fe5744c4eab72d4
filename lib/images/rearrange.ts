import type { Colour } from "./decode.js";
import type { Box, Padding } from "./geometry.js";
import type { RgbImage } from "./image.js";

/** The pixels of `box`, in whole pixels and inside the image, as an image of their own. */
export function crop(image: RgbImage, box: Box): RgbImage {
  const { left, top, width, height } = box;
  if (width === image.width && height === image.height) return image;
  const start = (top * image.width + left) * 3;
  return { width, height, data: packRows(image.data, start, image.width * 3, width, height) };
}

/** Rows of RGB pixels that lie `stride` bytes apart, packed. */
export function packRows(memory: Uint8Array, at: number, stride: number, width: number, height: number): Uint8Array {
  if (stride === width * 3) return memory.slice(at, at + stride * height);
  const packed = new Uint8Array(width * 3 * height);
  for (let y = 0; y < height; y++) {
    packed.set(memory.subarray(at + y * stride, at + y * stride + width * 3), y * width * 3);
  }
  return packed;
}

/** The image with a frame of one colour. */
export function pad(image: RgbImage, padding: Padding, colour: Colour): RgbImage {
  const { left, top, right, bottom } = padding;
  if (left + top + right + bottom === 0) return image;
  const box: Box = { left, top, width: image.width + left + right, height: image.height + top + bottom };
  const data = new Uint8Array(box.width * box.height * 3);
  if (colour.some((value) => value !== 0)) for (let i = 0; i < data.length; i++) data[i] = colour[i % 3]!;
  for (let y = 0; y < image.height; y++) {
    const row = image.data.subarray(y * image.width * 3, (y + 1) * image.width * 3);
    data.set(row, ((y + top) * box.width + left) * 3);
  }
  return { width: box.width, height: box.height, data };
}

/** Left and right exchanged. */
export function flip({ width, height, data }: RgbImage): RgbImage {
  const flipped = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let from = y * width * 3, to = from + (width - 1) * 3; to >= y * width * 3; from += 3, to -= 3) {
      flipped[to] = data[from]!;
      flipped[to + 1] = data[from + 1]!;
      flipped[to + 2] = data[from + 2]!;
    }
  }
  return { width, height, data: flipped };
}

/** RGB to BGR, and back. */
export function reverseChannels({ width, height, data }: RgbImage): RgbImage {
  const reversed = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i += 3) {
    reversed[i] = data[i + 2]!;
    reversed[i + 1] = data[i + 1]!;
    reversed[i + 2] = data[i]!;
  }
  return { width, height, data: reversed };
}
