import sharp from "sharp";

import { random } from "../../lib/random.js";

export const formats = ["jpeg", "png", "webp", "gif", "tiff", "bmp"] as const;

/** A small image in each format, with noise in it, so that its code is long. */
export async function smallPhotographs(): Promise<Buffer[]> {
  const noise = random(0, "images");
  const pixels = Uint8Array.from({ length: 96 * 80 * 3 }, (_, i) => ((i / 5) % 200) + noise.integer(56));
  const image = () => sharp(pixels, { raw: { width: 96, height: 80, channels: 3 } });
  const encoded = formats.slice(0, -1).map((format) =>
    image()
      .toFormat(format as "jpeg" | "png")
      .toBuffer(),
  );
  return [...(await Promise.all(encoded)), bitmap(pixels, 96, 80)];
}

function bitmap(pixels: Uint8Array, width: number, height: number): Buffer {
  const header = Buffer.alloc(54);
  header.write("BM");
  header.writeUInt32LE(54 + pixels.length, 2);
  header.writeUInt32LE(54, 10);
  header.writeUInt32LE(40, 14);
  header.writeInt32LE(width, 18);
  header.writeInt32LE(height, 22);
  header.writeUInt16LE(1, 26);
  header.writeUInt16LE(24, 28);
  return Buffer.concat([header, pixels]);
}
