import sharp from "sharp";

import type { Random } from "../random.js";
import type { ImageSource } from "./image.js";
import { transformPixels, type Transform } from "./transform.js";

/** A PNG of what a network sees of an image, before normalization. */
export async function previewPng(options: {
  transform: Transform;
  source: ImageSource;
  random?: Random;
}): Promise<Uint8Array> {
  const { width, height, data } = await transformPixels(options);
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}
