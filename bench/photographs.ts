import path from "node:path";

import sharp from "sharp";

import { root } from "./peer.js";

const photographs = ["photo_china.jpg", "photo_coffee.jpg", "photo_cat.png"];
/** Width and height; the sizes that are frequent in ImageNet, and a large one. */
const sizes = [
  [500, 375],
  [375, 500],
  [500, 333],
  [640, 480],
  [400, 300],
  [1024, 768],
] as const;

/** JPEGs as data sets of photographs hold them, made from the photographs of the golden files. */
export async function makePhotographs(options: { folder: string; count: number }): Promise<string[]> {
  const { folder, count } = options;
  const sources = photographs.map((name) => path.join(root, "__tests__", "golden", "preprocess", "src", name));
  const files: string[] = [];
  for (let i = 0; i < count; i++) {
    const [width, height] = sizes[i % sizes.length]!;
    const file = path.join(folder, `${String(i).padStart(5, "0")}.jpg`);
    // A little noise gives the files the size that photographs of these dimensions have.
    const noise = { width, height, channels: 3 as const, noise: { type: "gaussian" as const, mean: 128, sigma: 10 } };
    const grain = await sharp({ create: { ...noise, background: "grey" } })
      .png()
      .toBuffer();
    await sharp(sources[i % sources.length])
      .resize(width, height, { fit: "cover" })
      .composite([{ input: grain, blend: "soft-light" }])
      .jpeg({ quality: 92, chromaSubsampling: "4:2:0" })
      .toFile(file);
    files.push(file);
  }
  return files;
}
