import type { Random } from "../random.js";
import { roundHalfToEven } from "./rounding.js";

export interface Size {
  width: number;
  height: number;
}

/** A part of an image in pixels, from its top left corner. */
export interface Box extends Size {
  left: number;
  top: number;
}

/** The size at which the short side is `short` pixels; the long side is cut to an integer (torchvision's `Resize`). */
export function shortSideSize({ width, height }: Size, short: number): Size {
  return width <= height
    ? { width: short, height: Math.trunc((short * height) / width) }
    : { width: Math.trunc((short * width) / height), height: short };
}

/** Pixels added on each side. */
export interface Padding {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/**
 * Where torchvision's `CenterCrop` cuts: halves of a pixel go to the even neighbour.
 *
 * @returns the padding with zeros that comes first where the image is smaller than the crop (the odd pixel goes right
 * and below), and the box in the padded image.
 */
export function centreCrop(image: Size, crop: Size): { padding: Padding; box: Box } {
  const missing = { width: Math.max(0, crop.width - image.width), height: Math.max(0, crop.height - image.height) };
  const padding = {
    left: Math.floor(missing.width / 2),
    top: Math.floor(missing.height / 2),
    right: Math.ceil(missing.width / 2),
    bottom: Math.ceil(missing.height / 2),
  };
  const left = roundHalfToEven((image.width + missing.width - crop.width) / 2);
  const top = roundHalfToEven((image.height + missing.height - crop.height) / 2);
  return { padding, box: { left, top, ...crop } };
}

/**
 * The part of an image that a random resized crop takes (torchvision's `RandomResizedCrop.get_params`): up to ten tries
 * of an area and an aspect ratio, then the largest central part whose aspect ratio is in range.
 *
 * @param scale least and largest share of the image's area, in (0, 1].
 * @param ratio least and largest width / height; drawn evenly on a logarithmic scale.
 */
export function randomResizedCropBox(options: {
  image: Size;
  scale: readonly [number, number];
  ratio: readonly [number, number];
  random: Random;
}): Box {
  const { image, scale, ratio, random } = options;
  const area = image.width * image.height;
  const logarithm = (value: number) => Math.fround(Math.log(Math.fround(value)));
  // torchvision draws in single precision, and so comes to its boxes.
  const between = (low: number, high: number) =>
    Math.fround(
      Math.fround(Math.fround(random.uniform()) * Math.fround(Math.fround(high) - Math.fround(low))) + Math.fround(low),
    );
  const logarithms = [logarithm(ratio[0]), logarithm(ratio[1])] as const;
  for (let attempt = 0; attempt < 10; attempt++) {
    const target = area * between(...scale);
    const aspect = Math.fround(Math.exp(between(...logarithms)));
    const width = roundHalfToEven(Math.sqrt(target * aspect));
    const height = roundHalfToEven(Math.sqrt(target / aspect));
    if (width > 0 && width <= image.width && height > 0 && height <= image.height) {
      const top = random.integer(image.height - height + 1);
      const left = random.integer(image.width - width + 1);
      return { left, top, width, height };
    }
  }
  const aspect = image.width / image.height;
  let { width, height } = image;
  if (aspect < ratio[0]) height = Math.min(height, Math.max(1, roundHalfToEven(width / ratio[0])));
  else if (aspect > ratio[1]) width = Math.min(width, Math.max(1, roundHalfToEven(height * ratio[1])));
  return { left: Math.floor((image.width - width) / 2), top: Math.floor((image.height - height) / 2), width, height };
}
