import * as tf from "@tensorflow/tfjs";

/**
 * γ and β of a batch norm in front of a linear layer, each trial's own, while the normalised input x̂ is shared by all:
 * folded into the matrix, so that the product with x̂ is one for all trials.
 */
export interface AffineFold {
  /** Of a linear layer: [seeds, C·positions + 1, trials·k]; channel-major rows, the last row is the bias. */
  weight: tf.Tensor3D;
  /** [seeds, C, trials], as are β and both gradients. */
  gamma: tf.Tensor;
  beta: tf.Tensor;
  trials: number;
}

/** The matrix that does to x̂ what `weight` does to γ·x̂ + β; of its shape. */
export function foldAffine(fold: AffineFold): tf.Tensor3D {
  return tf.tidy(() => {
    const { weight, gamma, beta } = fold;
    const { matrix, bias } = parts(weight);
    const byChannel = splitByChannel(fold, matrix);
    const folded = tf.mul(byChannel, alongChannels(fold, gamma)).reshape<tf.Tensor3D>(matrix.shape);
    const shift = tf.sum<tf.Tensor3D>(tf.mul(byChannel, alongChannels(fold, beta)).reshape(matrix.shape), 1, true);
    return tf.concat3d([folded, tf.add<tf.Tensor3D>(bias, shift)], 1);
  });
}

/**
 * With y = Σ_d (γ_c·x̂_d + β_c)·w_d, P = x̂ᵀ·error and e the sum of the error over the batch:
 * ∂w_d = γ_c·P_d + β_c·e,  ∂γ_c = Σ w_d·P_d,  ∂β_c = Σ w_d·e, the sums over the channel's positions and the columns.
 *
 * @param product the input's transpose times the error, the column of ones included: [seeds, C·positions + 1,
 * trials·k], its last row e.
 */
export function affineGradients(
  fold: AffineFold,
  product: tf.Tensor3D,
): { weight: tf.Tensor3D; gamma: tf.Tensor; beta: tf.Tensor } {
  const gamma = alongChannels(fold, fold.gamma);
  const beta = alongChannels(fold, fold.beta);
  const { matrix: ofMatrix, bias: errorSum } = parts(product);
  const w = splitByChannel(fold, parts(fold.weight).matrix);
  const p = splitByChannel(fold, ofMatrix);
  const channels = fold.gamma.shape[1]!;
  const e = tf.tile(errorSum, [1, channels, 1]).reshape([-1, 1, fold.trials, w.shape[3]]);
  const ofWeight = tf.add(tf.mul(p, gamma), tf.mul(beta, e)).reshape<tf.Tensor3D>(ofMatrix.shape);
  return {
    weight: tf.concat3d([ofWeight, errorSum], 1),
    gamma: tf.sum(tf.mul(w, p), [1, 3]).reshape(fold.gamma.shape),
    beta: tf.sum(tf.mul(w, e), [1, 3]).reshape(fold.beta.shape),
  };
}

/** The matrix without its last row, and the last row. */
function parts(whole: tf.Tensor3D): { matrix: tf.Tensor3D; bias: tf.Tensor3D } {
  const width = whole.shape[1] - 1;
  return { matrix: whole.slice([0, 0, 0], [-1, width, -1]), bias: whole.slice([0, width, 0], [-1, 1, -1]) };
}

/** [seeds, C·positions, trials·k] → [seeds·C, positions, trials, k]. */
function splitByChannel({ gamma, trials }: AffineFold, matrix: tf.Tensor3D): tf.Tensor4D {
  const [seeds, width, columns] = matrix.shape;
  const channels = gamma.shape[1]!;
  return matrix.reshape([seeds * channels, width / channels, trials, columns / trials]);
}

/** [seeds, C, trials] → [seeds·C, 1, trials, 1]. */
function alongChannels({ trials }: AffineFold, parameter: tf.Tensor): tf.Tensor4D {
  return parameter.reshape([-1, 1, trials, 1]);
}
