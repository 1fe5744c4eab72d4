import * as tf from "@tensorflow/tfjs";

import { transposedTimes } from "../heads/matrix-product.js";
import { cholesky, inverse } from "../matrices/cholesky.js";
import type { LogisticRows } from "./problem.js";

/** Rows a feature that the second moment is made of, at most. */
const enough = 16;

/**
 * The mean of x·xᵀ over rows, the column of ones among the features: [width + 1, width + 1]. Where there are many, an
 * equal share of each block stands for all.
 */
export async function secondMoment(
  rows: LogisticRows,
  { blockRows, signal }: { blockRows: number; signal?: AbortSignal },
): Promise<tf.Tensor2D> {
  const share = Math.min(1, (enough * rows.width) / rows.count);
  let sum: tf.Tensor2D = tf.zeros([rows.width + 1, rows.width + 1]);
  let count = 0;
  try {
    await rows.visit(blockRows, async (block) => {
      signal?.throwIfAborted();
      const taken = Math.ceil(share * block.shape[0]);
      count += taken;
      const next = tf.tidy(() => {
        const batched = block.slice([0, 0], [taken, -1]).expandDims<tf.Tensor3D>(0);
        return tf.add<tf.Tensor2D>(sum, transposedTimes(batched, batched).squeeze([0]));
      });
      sum.dispose();
      sum = next;
      await tf.nextFrame();
    });
    return tf.div<tf.Tensor2D>(sum, count);
  } finally {
    sum.dispose();
  }
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
 * @param options.penalties λ of each feature, the bias's last. Shape [width + 1]; not disposed here.
 */
export async function whitening(options: {
  moment: tf.Tensor2D;
  curvature: number;
  penalties: tf.Tensor1D;
}): Promise<Whitening> {
  const { moment, curvature, penalties } = options;
  const matrix = tf.tidy(() => {
    const hessian = tf.mul<tf.Tensor2D>(moment, curvature);
    const unit = tf.eye(hessian.shape[0]);
    const least = tf.mul(tf.max(tf.mul(hessian, unit)), leastShare);
    return tf.add<tf.Tensor2D>(hessian, tf.mul(unit, tf.maximum(penalties, least)));
  });
  const factor = await inverseFactor(matrix);
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
async function inverseFactor(matrix: tf.Tensor2D): Promise<tf.Tensor2D> {
  const size = matrix.shape[0];
  if (size <= small) return tf.tensor2d(inverse(cholesky(await matrix.data(), size, leastShare)), [size, size]);
  const half = Math.floor(size / 2);
  const rest = size - half;
  const first = matrix.slice([0, 0], [half, half]);
  const upper = await inverseFactor(first);
  const [across, second] = tf.tidy(() => {
    const across = tf.matMul<tf.Tensor2D>(matrix.slice([half, 0], [rest, half]), tf.transpose(upper));
    return [
      across,
      tf.sub<tf.Tensor2D>(matrix.slice([half, half]), tf.matMul(across, tf.transpose<tf.Tensor2D>(across))),
    ];
  });
  const lower = await inverseFactor(second);
  const whole = tf.tidy(() => {
    const left = tf.neg(tf.matMul<tf.Tensor2D>(lower, tf.matMul(across, upper)));
    return tf.concat2d([tf.concat2d([upper, tf.zeros<tf.Rank.R2>([half, rest])], 1), tf.concat2d([left, lower], 1)], 0);
  });
  tf.dispose([first, upper, across, second, lower]);
  return whole;
}
