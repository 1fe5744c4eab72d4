import type * as tf from "@tensorflow/tfjs";

/** The rows that problems are posed on, which may be more than memory holds. */
export interface LogisticRows {
  count: number;
  /** Features of a row. */
  width: number;
  /**
   * One pass over all rows in their order, in blocks of whole rows.
   *
   * @param blockRows rows a block, but for the last; the same in every pass.
   * @param see called with each block, float32 [rows, width + 1] with a last column of ones, and its first row. The
   * block stays the giver's; what is called may dispose of nothing. The next block comes when it resolves.
   */
  visit(blockRows: number, see: (block: tf.Tensor2D, begin: number) => Promise<void>): Promise<void>;
}

/**
 * What is minimised over W and b for N rows that take part:
 * (1/N) Σᵢ −log softmax(W·xᵢ + b)[yᵢ] + ½ λ ‖W‖².
 *
 * scikit-learn's `LogisticRegression(C)` is the same problem at λ = 1/(C·N); PyTorch's weight decay is λ, but with
 * `regularizeBias`.
 */
export interface LogisticObjective {
  /** At least 2. */
  classes: number;
  /** Whether ½ λ ‖b‖² is added, as by PyTorch's weight decay. Default: false. */
  regularizeBias?: boolean;
  /**
   * Where to stop: what the next Newton step would gain, as a part of the objective or, where that is less, of what has
   * been gained since W = 0. The objective is then some five times as far above its least. Below 1e-7 single precision
   * ends. Default: 1e-4.
   */
  tolerance?: number;
}

/** What one problem came to at one penalty. */
export interface LogisticSolution {
  /** Index of the problem. */
  problem: number;
  /** λ */
  penalty: number;
  /** W, row by row. Shape [classes, width]. */
  weights: Float32Array;
  /** b. Shape [classes]. */
  bias: Float32Array;
  objective: number;
  /** What the next Newton step would gain, as a part of the objective. */
  gap: number;
  /** Length of the gradient, as a part of that where the problem began: at W = 0, or where it was moved to. */
  gradientNorm: number;
  /** Steps. */
  iterations: number;
  /** Passes over the rows. */
  evaluations: number;
  /** Whether the tolerance was reached. */
  converged: boolean;
}
