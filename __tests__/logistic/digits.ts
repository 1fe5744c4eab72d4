import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

import { goldenPath } from "../golden.js";

export const width = 64;
export const classes = 10;

/** 898 digits of scikit-learn, over 16. */
export function digits(): { features: Float32Array; labels: Int32Array } {
  const bytes = gunzipSync(readFileSync(goldenPath("training/digits.bin.gz")));
  const count = 898;
  return {
    features: Float32Array.from(
      { length: count * width },
      (_, i) => bytes[Math.floor(i / width) * 65 + (i % width)]! / 16,
    ),
    labels: Int32Array.from({ length: count }, (_, row) => bytes[row * 65 + width]!),
  };
}
