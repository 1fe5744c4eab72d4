import * as tf from "@tensorflow/tfjs";

/**
 * γ and β of a batch norm in front of a linear layer, each trial's own, while the normalised input x̂ is shared by all.
 * They enter the matrix, so that the product with x̂ is one for all trials. Most of what this costs is new buffers of the
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

/**
 * (γ·x̂ + β)·w + b of each trial.
 *
 * @param x x̂ with a last column of ones: [seeds, batch, C·positions + 1].
 * @returns shape [seeds, batch, trials·k].
 */
export function affineProduct(fold: AffineFold, x: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => {
    const { weight, trials } = fold;
    const [seeds, rows, columns] = weight.shape;
    const gamma = alongRows(fold, fold.gamma, 1);
    const beta = alongRows(fold, fold.beta, 0);
    if (trials === 1 && x.shape[1] < columns) {
      // The batch is smaller than the matrix.
      const across = (parameter: tf.Tensor) => parameter.reshape([seeds, 1, rows]);
      return tf.matMul(tf.add<tf.Tensor3D>(tf.mul(x, across(gamma)), across(beta)), weight);
    }
    const byTrial = splitTrials(fold, weight);
    const shift = tf.sum(tf.mul(byTrial, beta).reshape(weight.shape), 1, true);
    return tf.add(tf.matMul(x, tf.mul(byTrial, gamma).reshape<tf.Tensor3D>(weight.shape)), shift);
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
  return tf.tidy(() => {
    const { weight, trials } = fold;
    const [seeds, rows, columns] = weight.shape;
    const errorSum = product.slice([0, rows - 1, 0], [-1, 1, -1]);
    const p = splitTrials(fold, product);
    const scaled = tf.mul(p, alongRows(fold, fold.gamma, 1)).reshape(product.shape);
    const shift = tf.mul(
      alongRows(fold, fold.beta, 0).reshape([seeds, rows, trials, 1]),
      errorSum.reshape([seeds, 1, trials, columns / trials]),
    );
    const ofBeta =
      trials === 1
        ? tf.matMul(weight, errorSum.reshape<tf.Tensor3D>([seeds, columns, 1]))
        : tf.sum(splitTrials(fold, tf.mul(weight, errorSum)), 2);
    return {
      weight: tf.add(scaled, shift.reshape(product.shape)),
      gamma: byChannel(fold, tf.sum(tf.mul(splitTrials(fold, weight), p), 2)),
      beta: byChannel(fold, ofBeta),
    };
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
