import * as tf from "@tensorflow/tfjs";

import { transposedTimes } from "./matrix-product.js";

/**
 * γ and β of a batch norm in front of a linear layer, each trial's own, while the normalised input x̂ is shared by all.
 * They are folded into the matrix, or into the batch where that is smaller; the gradients of all three come out of one
 * product. What this costs is new buffers of the matrix's size: each is dropped as soon as it can be.
 */
export interface AffineFold {
  /** Of a linear layer: [seeds, C·positions + 1, trials·k]; channel-major rows, the last row is the bias. */
  weight: tf.Tensor3D;
  /** [seeds, C, trials], as are β and both gradients. */
  gamma: tf.Tensor;
  beta: tf.Tensor;
  trials: number;
}

export interface AffineGradients {
  weight: tf.Tensor3D;
  gamma: tf.Tensor;
  beta: tf.Tensor;
}

/**
 * y = Σ_d (γ_c·x̂_d + β_c)·w_d + b of each trial, c the channel of d: [seeds, batch, trials·k]. With P = x̂ᵀ·error,
 * whose last row is e, the sum of the error over the batch, and S_c = Σ w_d over the channel's positions:
 *
 *     ∂w_d = γ_c·P_d + β_c·e,   ∂γ_c = Σ w_d·P_d,   ∂β_c = S_c·e,   the sums over the channel's positions and the columns.
 *
 * To be called in a tidy of the caller's.
 *
 * @param x x̂ with a last column of ones: [seeds, batch, C·positions + 1].
 */
export function affineProduct(
  fold: AffineFold,
  x: tf.Tensor3D,
): { output: tf.Tensor3D; backward: (error: tf.Tensor3D) => AffineGradients } {
  const { weight, trials } = fold;
  const [seeds, rows, columns] = weight.shape;
  const sums = channelSums(fold);
  const gamma = alongRows(fold, fold.gamma, 1);
  const beta = alongRows(fold, fold.beta, 0);
  const onBatch = trials === 1 && x.shape[1] < columns;
  return {
    output: tf.tidy(() => {
      if (onBatch) {
        const scaled = tf.mul(x, gamma.reshape([seeds, 1, rows]));
        return tf.matMul(tf.add<tf.Tensor3D>(scaled, beta.reshape([seeds, 1, rows])), weight);
      }
      const shift = tf.sum(tf.mul(sums, fold.beta.expandDims(3)), 1).reshape([seeds, 1, columns]);
      const scaled = tf.mul(splitTrials(fold, weight), gamma).reshape<tf.Tensor3D>(weight.shape);
      return tf.add(tf.matMul(x, scaled), shift);
    }),
    backward: (error) =>
      tf.tidy(() => {
        const product = transposedTimes(x, error);
        const errorSum = product.slice([0, rows - 1, 0], [-1, 1, -1]).reshape([seeds, 1, trials, columns / trials]);
        const p = splitTrials(fold, product);
        return {
          gamma: tf.tidy(() => byChannel(fold, tf.sum(tf.mul(splitTrials(fold, weight), p), 2))),
          beta: tf.sum(tf.mul(sums, errorSum), 3),
          weight: tf.tidy(() => {
            const ofShift = tf.mul(beta.reshape([seeds, rows, trials, 1]), errorSum).reshape(weight.shape);
            return tf.add<tf.Tensor3D>(tf.mul(p, gamma).reshape(weight.shape), ofShift);
          }),
        };
      }),
  };
}

/** The sums of the matrix over each channel's positions, without the biases: [seeds, C, trials, k]. */
function channelSums({ weight, gamma, trials }: AffineFold): tf.Tensor4D {
  const [seeds, rows, columns] = weight.shape;
  const channels = gamma.shape[1]!;
  return tf.tidy(() => {
    const withoutBias = weight.slice([0, 0, 0], [seeds, rows - 1, columns]);
    const sums = tf.sum(withoutBias.reshape([seeds * channels, (rows - 1) / channels, columns]), 1);
    return sums.reshape([seeds, channels, trials, columns / trials]);
  });
}

/** [seeds, rows, trials·k] → [seeds·rows, trials, k]. */
function splitTrials({ trials }: AffineFold, matrix: tf.Tensor3D): tf.Tensor3D {
  const [seeds, rows, columns] = matrix.shape;
  return matrix.reshape([seeds * rows, trials, columns / trials]);
}

/** γ or β for every row of the matrix, and `ofBias` for the last one: [seeds, C, trials] → [seeds·rows, trials, 1]. */
function alongRows({ weight, gamma, trials }: AffineFold, parameter: tf.Tensor, ofBias: number): tf.Tensor3D {
  const [seeds, rows] = weight.shape;
  const channels = gamma.shape[1]!;
  const repeated = tf.tile(parameter.reshape([seeds, channels, 1, trials]), [1, 1, (rows - 1) / channels, 1]);
  const whole = tf.concat([repeated.reshape([seeds, rows - 1, trials]), tf.fill([seeds, 1, trials], ofBias)], 1);
  return whole.reshape([seeds * rows, trials, 1]);
}

/** The sums over each channel's positions, the last row left out: [seeds, rows, trials] → [seeds, C, trials]. */
function byChannel({ weight, gamma, trials }: AffineFold, ofRows: tf.Tensor): tf.Tensor {
  const [seeds, rows] = weight.shape;
  const channels = gamma.shape[1]!;
  const ofMatrix = ofRows.reshape<tf.Tensor3D>([seeds, rows, trials]).slice([0, 0, 0], [-1, rows - 1, -1]);
  return tf.sum(ofMatrix.reshape([seeds, channels, (rows - 1) / channels, trials]), 2).reshape(gamma.shape);
}
