import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";
import { withOnes } from "../heads/training-input.js";
import type { LogisticRows } from "./problem.js";

/** Rows that lie on the backend. */
export interface MemoryRows extends LogisticRows {
  dispose(): void;
}

/**
 * Rows from an array.
 *
 * @param options.features finite float32, shape [n, width], row by row; they are copied to the backend at the first
 * pass.
 * @throws UserError where the number of values is no multiple of the width.
 */
export function memoryRows(options: { features: Float32Array; width: number }): MemoryRows {
  const { features, width } = options;
  const count = features.length / width;
  if (!(Number.isInteger(count) && count > 0)) {
    throw expected(`a multiple of ${width} (features of a row)`, "the number of values", features.length);
  }
  let blocks: tf.Tensor2D[] = [];
  const dispose = () => {
    tf.dispose(blocks);
    blocks = [];
  };
  return {
    count,
    width,
    visit: async (blockRows, see) => {
      if (blocks[0]?.shape[0] !== Math.min(blockRows, count)) {
        dispose();
        for (let begin = 0; begin < count; begin += blockRows) {
          const end = Math.min(count, begin + blockRows);
          const own = features.subarray(begin * width, end * width);
          blocks.push(tf.tidy(() => withOnes(tf.tensor3d(own, [1, end - begin, width])).squeeze<tf.Tensor2D>([0])));
        }
      }
      for (const [i, block] of blocks.entries()) await see(block, i * blockRows);
    },
    dispose,
  };
}
