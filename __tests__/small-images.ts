import fs from "node:fs/promises";
import path from "node:path";

import sharp from "sharp";

import { random, type Random } from "../lib/random.js";

/** Three colours, each plain and striped. */
export const smallClasses = ["blue", "blue-striped", "green", "green-striped", "red", "red-striped"];

export interface SmallImagesOptions {
  /** Where the class folders go. */
  folder: string;
  /** Images of each class. */
  count: number;
  /** Classes, of {@link smallClasses}. */
  classes?: string[];
  /** Height and width. */
  size?: number;
  seed?: number;
}

/**
 * Writes noisy images of colours and stripes, one folder a class: a few weights can tell them apart, though not all of
 * them.
 *
 * @returns their names below the folder.
 */
export async function writeSmallImages(options: SmallImagesOptions): Promise<string[]> {
  const { folder, count, classes = smallClasses, size = 40, seed = 0 } = options;
  const written: string[] = [];
  for (const name of classes) {
    await fs.mkdir(path.join(folder, name), { recursive: true });
    for (let i = 0; i < count; i++) {
      const file = `${name}/${String(i).padStart(3, "0")}.png`;
      const pixels = draw(name, size, random(seed, "small image", file));
      const image = sharp(pixels, { raw: { width: size, height: size, channels: 3 } });
      await image.png({ compressionLevel: 1 }).toFile(path.join(folder, file));
      written.push(file);
    }
  }
  return written;
}

function draw(name: string, size: number, stream: Random): Uint8Array {
  const hue = ["red", "green", "blue"].findIndex((colour) => name.startsWith(colour));
  const period = name.endsWith("striped") ? 4 + stream.integer(3) : Infinity;
  const colour = [0, 1, 2].map((channel) => 90 + 30 * stream.normal() + (channel === hue ? 70 : 0));
  const pixels = new Uint8Array(size * size * 3);
  for (let i = 0; i < pixels.length; i++) {
    const column = Math.floor(i / 3) % size;
    const dark = column % period >= period / 2;
    const value = colour[i % 3]! * (dark ? 0.5 : 1) + 25 * stream.normal();
    pixels[i] = Math.min(255, Math.max(0, value));
  }
  return pixels;
}
