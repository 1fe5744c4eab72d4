import * as tf from "@tensorflow/tfjs";

import { timesTransposed } from "../heads/matrix-product.js";
import type { SvmRows } from "./problem.js";

/**
 * The heavy products. X is all rows, [count, width]; a column of coefficients v stands for the weights Xᵀv, and its
 * scores are X·Xᵀv. Columns lie as rows of [k, count], so that no product reads X or the Gram matrix transposed.
 */
export interface RowProducts {
  /** [k, count] → [k, width]: Xᵀv. */
  weights(coefficients: tf.Tensor2D): tf.Tensor2D;
  /** [k, width] → [k, count]: X·w. */
  scores(weights: tf.Tensor2D): tf.Tensor2D;
  /** [k, count] → [k, count]: X·Xᵀv, through the Gram matrix where it has been made. */
  kernel(coefficients: tf.Tensor2D): tf.Tensor2D;
  /** Makes the Gram matrix for `kernel` if for so many columns it pays. */
  expect(columns: number): void;
  /** X·Xᵀ, [count, count] row by row, where it costs less than so many columns of `kernel`. */
  gram(columns: number): Promise<Float32Array | undefined>;
  dispose(): void;
}

/** Rows of the Gram matrix that are made at a time. */
const gramRows = 1024;

/** Gram matrices with more rows (400 MB) are not made. */
const gramLimit = 10_000;

export function rowProducts(rows: SvmRows): RowProducts {
  const { count, width } = rows;
  const blocks = rows.blocks.map((block) => tf.tensor2d(block, [block.length / width, width]));
  let gram: tf.Tensor2D | undefined;
  let gramValues: Float32Array | undefined;
  let throughGram = false;

  const weights = (coefficients: tf.Tensor2D): tf.Tensor2D =>
    tf.tidy(() => {
      let begin = 0;
      const parts = blocks.map((block) => {
        const size = block.shape[0];
        const part = size === count ? coefficients : coefficients.slice([0, begin], [-1, size]);
        begin += size;
        return tf.matMul<tf.Tensor2D>(part, block);
      });
      return parts.length === 1 ? parts[0]! : tf.addN<tf.Tensor2D>(parts);
    });

  const scores = (w: tf.Tensor2D): tf.Tensor2D =>
    tf.tidy(() => {
      const transposed = tf.transpose<tf.Tensor2D>(w);
      const parts = blocks.map((block) => tf.transpose(tf.matMul<tf.Tensor2D>(block, transposed)));
      return parts.length === 1 ? parts[0]! : tf.concat<tf.Tensor2D>(parts, 1);
    });

  return {
    weights,
    scores,
    kernel: (coefficients) =>
      throughGram ? tf.matMul(coefficients, gram!) : tf.tidy(() => scores(weights(coefficients))),
    expect: (columns) => {
      const saved = (4 * width - 2 * count) * columns;
      throughGram ||= count <= gramLimit && saved > count * width;
      if (throughGram) gram ??= gramMatrix(blocks);
    },
    gram: async (columns) => {
      if (count > gramLimit || 4 * columns < count) return undefined;
      gram ??= gramMatrix(blocks);
      // One product takes less time than two smaller ones.
      throughGram ||= 2 * count < 5 * width;
      return (gramValues ??= await gram.data<"float32">());
    },
    dispose: () => tf.dispose([...blocks, ...(gram ? [gram] : [])]),
  };
}

/** X·Xᵀ; what lies above the diagonal is taken from below it. */
function gramMatrix(blocks: tf.Tensor2D[]): tf.Tensor2D {
  return tf.tidy(() => {
    const parts = blocks.flatMap((block) =>
      Array.from({ length: Math.ceil(block.shape[0] / gramRows) }, (_, i) =>
        block.slice([i * gramRows, 0], [Math.min(gramRows, block.shape[0] - i * gramRows), -1]),
      ),
    );
    const product = (i: number, j: number) =>
      tf.tidy(() => timesTransposed(parts[i]!.expandDims(0), parts[j]!.expandDims(0)).squeeze<tf.Tensor2D>([0]));
    const lower = parts.map((_, i) => Array.from({ length: i + 1 }, (_, j) => product(i, j)));
    return tf.concat(
      parts.map((_, i) =>
        tf.tidy(() =>
          tf.concat(
            parts.map((_, j) => (j <= i ? lower[i]![j]! : tf.transpose(lower[j]![i]!))),
            1,
          ),
        ),
      ),
    );
  });
}
