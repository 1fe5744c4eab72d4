import * as tf from "@tensorflow/tfjs";

import { transposedTimes } from "../heads/matrix-product.js";
import type { LogisticRows } from "./problem.js";

/** What some problems are at their weights. */
export interface Evaluation {
  /** Mean cross-entropy of each problem's rows. Shape [problems]. */
  loss: Float64Array;
  /** Mean of p(1 − p) over classes and the problem's rows. Shape [problems]. */
  curvature: Float64Array;
  /** Of `loss`: [width + 1, problems·classes]. */
  gradient: tf.Tensor2D;
}

/** Scores that are looked at together, so that they stay in the caches. */
const scoresPerBlock = 2 ** 20;

/** Milliseconds after which signals and progress bars get their turn. */
const breath = 50;

/** Rows a block, where so many numbers are computed of each. */
export function blockRowsOf(columns: number): number {
  return Math.min(4096, Math.max(128, 2 ** Math.round(Math.log2(scoresPerBlock / columns))));
}

/**
 * One pass over the rows for some problems at once.
 *
 * @param options.labels class of each row, or −1 where it takes no part in any problem.
 * @param options.parts of each problem: 1 where a row takes part, else 0; undefined where all do.
 * @param options.weights [width + 1, problems·classes], problem by problem.
 */
export async function evaluate(options: {
  rows: LogisticRows;
  blockRows: number;
  labels: Int32Array;
  parts: (Uint8Array | undefined)[];
  classes: number;
  weights: tf.Tensor2D;
  signal?: AbortSignal;
}): Promise<Evaluation> {
  const { rows, blockRows, labels, parts, classes, weights, signal } = options;
  const problems = parts.length;
  const all = parts.every((part) => !part) && !labels.includes(-1);
  const loss = new Float64Array(problems);
  const squares = new Float64Array(problems);
  const counts = parts.map((part) => countOf(labels, part));
  let gradient: tf.Tensor2D = tf.zerosLike(weights);
  let breathed = Date.now();
  try {
    await rows.visit(blockRows, async (block, begin) => {
      signal?.throwIfAborted();
      const n = block.shape[0];
      const own = labels.subarray(begin, begin + n);
      const [next, sums] = tf.tidy(() => {
        const logs = tf.logSoftmax(tf.matMul(block, weights).reshape<tf.Tensor3D>([n, problems, classes]));
        const shares = tf.exp<tf.Tensor3D>(logs);
        // A row of −1 has no true class.
        const truth = tf.oneHot(tf.tensor1d(own, "int32"), classes).toFloat().reshape<tf.Tensor3D>([n, 1, classes]);
        let error: tf.Tensor = tf.sub(shares, truth);
        let losses: tf.Tensor = tf.neg(tf.sum(tf.mul(logs, truth), 2));
        let squared: tf.Tensor = tf.sum(tf.square(shares), 2);
        if (!all) {
          const takesPart = tf.tensor2d(maskOf(own, parts, begin), [n, problems]);
          error = tf.mul(error, takesPart.expandDims(2));
          losses = tf.mul(losses, takesPart);
          squared = tf.mul(squared, takesPart);
        }
        const matrix = error.reshape<tf.Tensor3D>([1, n, problems * classes]);
        const added = transposedTimes(block.expandDims<tf.Tensor3D>(0), matrix).squeeze<tf.Tensor2D>([0]);
        return [tf.add<tf.Tensor2D>(gradient, added), tf.stack([tf.sum(losses, 0), tf.sum(squared, 0)])];
      });
      gradient.dispose();
      gradient = next;
      const read = await sums.data();
      sums.dispose();
      for (let k = 0; k < problems; k++) {
        loss[k]! += read[k]!;
        squares[k]! += read[problems + k]!;
      }
      if (Date.now() - breathed > breath) {
        await tf.nextFrame();
        breathed = Date.now();
      }
    });
    const mean = tf.tidy(() => {
      const divisors = tf.tensor(counts, [1, problems, 1]);
      return tf.div(gradient.reshape([-1, problems, classes]), divisors).reshape<tf.Tensor2D>(weights.shape);
    });
    return {
      loss: loss.map((sum, k) => sum / counts[k]!),
      curvature: squares.map((sum, k) => (1 - sum / counts[k]!) / classes),
      gradient: mean,
    };
  } finally {
    gradient.dispose();
  }
}

/** How many rows take part in a problem. */
export function countOf(labels: Int32Array, part: Uint8Array | undefined): number {
  return labels.reduce((sum, label, row) => sum + (label >= 0 && part?.[row] !== 0 ? 1 : 0), 0);
}

function maskOf(labels: Int32Array, parts: (Uint8Array | undefined)[], begin: number): Float32Array {
  const mask = new Float32Array(labels.length * parts.length);
  labels.forEach((label, i) =>
    parts.forEach((part, k) => {
      if (label >= 0 && part?.[begin + i] !== 0) mask[i * parts.length + k] = 1;
    }),
  );
  return mask;
}
