import * as tf from "@tensorflow/tfjs";

import { transposedTimes } from "../heads/matrix-product.js";
import { cholesky, inverse } from "../svm/cholesky.js";
import type { LogisticRows } from "./problem.js";

/** Rows that are multiplied at a time. */
const blockRows = 1024;

/** The mean of x·xᵀ over all rows, the column of ones among the features: [width + 1, width + 1]. */
export async function secondMoment(rows: LogisticRows, signal?: AbortSignal): Promise<tf.Tensor2D> {
  let sum = tf.zeros([rows.width + 1, rows.width + 1]);
  try {
    await rows.visit(blockRows, async (block) => {
      signal?.throwIfAborted();
      const next = tf.tidy(() => {
        const batched = block.expandDims<tf.Tensor3D>(0);
        return tf.add<tf.Tensor2D>(sum, tf.div(transposedTimes(batched, batched).squeeze([0]), rows.count));
      });
      sum.dispose();
      sum = next;
      await tf.nextFrame();
    });
  } catch (error) {
    sum.dispose();
    throw error;
  }
  return sum as tf.Tensor2D;
}

/**
 * Coordinates in which a logistic problem is nearly round. Its Hessian is about the same matrix for every class,
 * M = h·E[x·xᵀ] + λ·I, h being the mean of p(1 − p) over classes and rows; with M = L·Lᵀ and w = L⁻ᵀ·v it is about the
 * identity over v. So gradient steps over v are nearly Newton's, and lengths over v tell how far the objective is from
 * its least.
 */
export interface Whitening {
  /** Coordinates of weights: [n, width + 1] → [n, width + 1]. */
  coordinates(weights: tf.Tensor2D): tf.Tensor2D;
  weights(coordinates: tf.Tensor2D): tf.Tensor2D;
  /** The gradient over coordinates from that over weights. */
  gradient(gradient: tf.Tensor2D): tf.Tensor2D;
  dispose(): void;
}

/** What is added to the diagonal, of its largest element, so that single precision can divide. */
const leastShare = 1e-6;

/**
 * @param options.moment {@link secondMoment}; not disposed here.
 * @param options.curvature h
 * @param options.penalties λ of each feature, the bias's last. Shape [width + 1].
 */
export function whitening(options: { moment: tf.Tensor2D; curvature: number; penalties: tf.Tensor1D }): Whitening {
  const { moment, curvature, penalties } = options;
  const [matrix, factor] = tf.tidy(() => {
    const hessian = tf.mul(moment, curvature);
    const largest = tf.max(tf.mul(hessian, tf.eye(hessian.shape[0]!)));
    const added = tf.maximum(penalties, tf.mul(largest, leastShare));
    const matrix = tf.add<tf.Tensor2D>(hessian, tf.mul(tf.eye(hessian.shape[0]!), added));
    return [matrix, inverseFactor(matrix)];
  });
  const transposed = tf.transpose<tf.Tensor2D>(factor);
  return {
    // L = M·L⁻ᵀ.
    coordinates: (weights) => tf.tidy(() => tf.matMul(tf.matMul(weights, matrix), transposed)),
    weights: (coordinates) => tf.matMul(coordinates, factor),
    gradient: (gradient) => tf.matMul(gradient, transposed),
    dispose: () => tf.dispose([matrix, factor, transposed]),
  };
}

/** Matrices up to this size are inverted on the host. */
const small = 128;

/** L⁻¹ of M = L·Lᵀ, half by half, so that nearly all of it is products. */
function inverseFactor(matrix: tf.Tensor2D): tf.Tensor2D {
  const size = matrix.shape[0];
  if (size <= small) return tf.tensor2d(inverse(cholesky(matrix.dataSync(), size, leastShare)), [size, size]);
  const half = Math.floor(size / 2);
  const rest = size - half;
  const upper = inverseFactor(matrix.slice([0, 0], [half, half]));
  const across = tf.matMul<tf.Tensor2D>(matrix.slice([half, 0], [rest, half]), tf.transpose(upper));
  const schur = tf.sub<tf.Tensor2D>(
    matrix.slice([half, half], [rest, rest]),
    tf.matMul(across, tf.transpose(across)),
  );
  const lower = inverseFactor(schur);
  const left = tf.neg<tf.Tensor2D>(tf.matMul(lower, tf.matMul(across, upper)));
  return tf.concat2d([tf.concat2d([upper, tf.zeros([half, rest])], 1), tf.concat2d([left, lower], 1)], 0);
}
