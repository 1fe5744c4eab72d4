import type { Rotation } from "./attention.js";
import type { Linear } from "./linear.js";
import { derived } from "./weight-parts.js";
import type { FloatWeight } from "./weight.js";

/**
 * The turns of two-dimensional rotary embeddings: the first half of a head's pairs of channels tells the row, the
 * second the column; pair j of n turns by position / 10000^(j / n).
 *
 * Source: EVA-02 (https://arxiv.org/abs/2303.11331) and timm's `RotaryEmbeddingCat`.
 *
 * @param options.trained side of the grid whose positions are 0, 1, …; another grid's are spread over the same length.
 * @param options.channels of a head.
 * @param options.prefixTokens tokens that have no position.
 */
export function rotationOf(options: {
  grid: { height: number; width: number };
  trained: number;
  channels: number;
  prefixTokens: number;
}): Rotation {
  const { grid, trained, channels, prefixTokens } = options;
  const [pairs, tokens] = [channels / 2, prefixTokens + grid.height * grid.width];
  const bands = pairs / 2;
  const angles = Array.from({ length: tokens * pairs }, (_, i) => {
    const place = Math.floor(i / pairs) - prefixTokens;
    const pair = i % pairs;
    if (place < 0) return 0;
    const [row, column] = [Math.floor(place / grid.width), place % grid.width];
    const position = pair < bands ? (row / grid.height) * trained : (column / grid.width) * trained;
    return position / 10000 ** ((pair % bands) / bands);
  });
  const table = (of: (angle: number) => number) =>
    derived([tokens, pairs], (values) => {
      values.set(angles.map(of));
      return Promise.resolve();
    });
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

/**
 * A projection to queries or keys whose heads have their pairs of channels (0, 1), (2, 3), … apart: first all first
 * ones, then all second ones. A query's product with a key is the same in any order of their channels.
 */
export function withSplitPairs({ matrix, bias }: Linear, heads: number): Linear {
  const size = matrix.shape[0]! / heads;
  const source = (row: number) => {
    const [head, at] = [Math.floor(row / size), row % size];
    return head * size + (at < size / 2 ? 2 * at : 2 * (at - size / 2) + 1);
  };
  const sorted = (weight: FloatWeight): FloatWeight =>
    derived(weight.shape, async (values) => {
      const old = await weight.read();
      const width = old.length / weight.shape[0]!;
      for (let row = 0; row < weight.shape[0]!; row++) {
        const from = source(row) * width;
        values.set(old.subarray(from, from + width), row * width);
      }
    });
  return { matrix: sorted(matrix), bias: bias && sorted(bias) };
}
