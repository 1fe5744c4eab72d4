import * as tf from "@tensorflow/tfjs";

import { timesTransposed, transposedTimes } from "./matrix-product.js";

/**
 * γ and β of a batch norm in front of a linear layer, each trial's own, while the normalised input x̂ is shared by all.
 * In the matrix they leave the product with x̂ one for all trials. Most of what this costs is new buffers of the
 * matrix's size, so there are as few as can be.
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
 * (γ·x̂ + β)·w + b of each trial, [seeds, batch, trials·k], and from its gradient those of the parameters. To be called in
 * a tidy of the caller's.
 *
 * @param x x̂ with a last column of ones: [seeds, batch, C·positions + 1].
 */
export function affineProduct(
  fold: AffineFold,
  x: tf.Tensor3D,
): { output: tf.Tensor3D; backward: (error: tf.Tensor3D) => AffineGradients } {
  const [, batch] = x.shape;
  return fold.trials === 1 && batch < fold.weight.shape[2] ? onBatch(fold, x) : onMatrix(fold, x);
}

/** γ and β enter the batch, where it is smaller than the matrix: one trial of many classes. */
function onBatch(fold: AffineFold, x: tf.Tensor3D): ReturnType<typeof affineProduct> {
  const { weight } = fold;
  const [seeds, rows] = weight.shape;
  const across = (parameter: tf.Tensor, ofBias: number) => alongRows(fold, parameter, ofBias).reshape([seeds, 1, rows]);
  const input = tf.add<tf.Tensor3D>(tf.mul(x, across(fold.gamma, 1)), across(fold.beta, 0));
  return {
    output: tf.matMul(input, weight),
    backward: (error) => {
      // Twice as fast as error·wᵀ, for it is the small operand that is read transposed.
      const ofInput = tf.transpose(timesTransposed(weight, error), [0, 2, 1]);
      return {
        weight: transposedTimes(input, error),
        gamma: byChannel(fold, tf.sum(tf.mul(ofInput, x), 1)),
        beta: byChannel(fold, tf.sum(ofInput, 1)),
      };
    },
  };
}

/**
 * γ and β enter the matrix. With y = Σ_d (γ_c·x̂_d + β_c)·w_d, P = x̂ᵀ·error, whose last row is e, the sum of the error
 * over the batch: ∂w_d = γ_c·P_d + β_c·e,  ∂γ_c = Σ w_d·P_d,  ∂β_c = Σ w_d·e, the sums over the channel's positions and
 * the columns.
 */
function onMatrix(fold: AffineFold, x: tf.Tensor3D): ReturnType<typeof affineProduct> {
  const { weight, trials } = fold;
  const [seeds, rows, columns] = weight.shape;
  const w = splitTrials(fold, weight);
  const gamma = alongRows(fold, fold.gamma, 1);
  const beta = alongRows(fold, fold.beta, 0);
  const shift = tf.sum(tf.mul(w, beta).reshape(weight.shape), 1, true);
  return {
    output: tf.add(tf.matMul(x, tf.mul(w, gamma).reshape<tf.Tensor3D>(weight.shape)), shift),
    backward: (error) => {
      const product = transposedTimes(x, error);
      const errorSum = product.slice([0, rows - 1, 0], [-1, 1, -1]);
      const p = splitTrials(fold, product);
      const ofShift = tf.mul(
        beta.reshape([seeds, rows, trials, 1]),
        errorSum.reshape([seeds, 1, trials, columns / trials]),
      );
      return {
        weight: tf.add(tf.mul(p, gamma).reshape(weight.shape), ofShift.reshape(weight.shape)),
        gamma: byChannel(fold, tf.sum(tf.mul(w, p), 2)),
        beta: byChannel(fold, tf.sum(splitTrials(fold, tf.mul(weight, errorSum)), 2)),
      };
    },
  };
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
