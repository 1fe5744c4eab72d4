import fs from "node:fs/promises";
import path from "node:path";

import { random } from "../../lib/random.js";

/** Writes noise in MNIST's format, 28 × 28: many images of which no single file has to be made. */
export async function writeDigits(folder: string, { train, test }: { train: number; test: number }): Promise<void> {
  await fs.mkdir(folder, { recursive: true });
  for (const [name, count] of [
    ["train", train],
    ["t10k", test],
  ] as const) {
    const noise = random(0, "digits", name);
    const pixels = Uint8Array.from({ length: count * 28 * 28 }, () => noise.integer(256));
    const labels = Uint8Array.from({ length: count }, (_, i) => i % 10);
    await fs.writeFile(path.join(folder, `${name}-images-idx3-ubyte`), idx([count, 28, 28], pixels));
    await fs.writeFile(path.join(folder, `${name}-labels-idx1-ubyte`), idx([count], labels));
  }
}

function idx(shape: number[], data: Uint8Array): Buffer {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.writeUInt32BE(0x0800 + shape.length);
  shape.forEach((size, axis) => header.writeUInt32BE(size, 4 + 4 * axis));
  return Buffer.concat([header, data]);
}
