import * as tf from "@tensorflow/tfjs";

import { affineProduct } from "./affine.js";
import type { Layer } from "./layer.js";
import { timesTransposed, transposedTimes } from "./matrix-product.js";
import { withOnes } from "./training-input.js";
import type { TrialParameter } from "./trial-parameter.js";

/** γ and β, `side by side` as [seeds, C, trials]. */
export interface AffineParameters {
  gamma: TrialParameter;
  beta: TrialParameter;
}

/**
 * The linear layer that reads the features: one product for all trials, [seeds, batch, width + 1] → [seeds, batch,
 * trials·columns].
 *
 * @param weight `side by side`.
 * @param affine of a batch norm before it.
 */
export function sharedLinear(weight: TrialParameter, trials: number, affine?: AffineParameters): Layer {
  const matrix = () => weight.parameter.value as tf.Tensor3D;
  if (!affine) {
    return {
      parameters: [weight],
      forward: (x) => ({
        output: tf.matMul(x, matrix()),
        backward: (error) => ({ parameters: [transposedTimes(x, error)] }),
      }),
    };
  }
  return {
    parameters: [affine.gamma, affine.beta, weight],
    forward: (x) => {
      const { gamma, beta } = affine;
      const fold = { weight: matrix(), gamma: gamma.parameter.value, beta: beta.parameter.value, trials };
      const { output, backward } = affineProduct(fold, x);
      return {
        output,
        backward: (error) => {
          const gradients = backward(error);
          return { parameters: [gradients.gamma, gradients.beta, gradients.weight] };
        },
      };
    },
  };
}

/** A linear layer on what each trial has of its own: [seeds·trials, batch, width] → [seeds·trials, batch, columns]. */
export function trialLinear(weight: TrialParameter): Layer {
  return {
    parameters: [weight],
    forward: (x) => {
      const input = withOnes(x);
      const matrix = weight.parameter.value as tf.Tensor3D;
      return {
        output: tf.matMul(input, matrix),
        backward: (error) => ({
          error: timesTransposed(error, matrix.slice([0, 0, 0], [-1, x.shape[2], -1])),
          parameters: [transposedTimes(input, error)],
        }),
      };
    },
  };
}

/** [seeds, batch, trials·width] → [seeds·trials, batch, width]. */
export function stackTrials(trials: number): Layer {
  return {
    parameters: [],
    forward: (x) => ({
      output: stacked(x, trials),
      backward: (error) => ({ error: sideBySide(error, trials), parameters: [] }),
    }),
  };
}

/** [seeds·trials, batch, width] → [seeds, batch, trials·width]. */
export function unstackTrials(trials: number): Layer {
  return {
    parameters: [],
    forward: (x) => ({
      output: sideBySide(x, trials),
      backward: (error) => ({ error: stacked(error, trials), parameters: [] }),
    }),
  };
}

function stacked(x: tf.Tensor3D, trials: number): tf.Tensor3D {
  const [seeds, batch, columns] = x.shape;
  if (trials === 1) return x;
  const byTrial = tf.transpose(x.reshape([seeds, batch, trials, columns / trials]), [0, 2, 1, 3]);
  return byTrial.reshape([seeds * trials, batch, columns / trials]);
}

function sideBySide(x: tf.Tensor3D, trials: number): tf.Tensor3D {
  const [all, batch, width] = x.shape;
  if (trials === 1) return x;
  const byRow = tf.transpose(x.reshape([all / trials, trials, batch, width]), [0, 2, 1, 3]);
  return byRow.reshape([all / trials, batch, trials * width]);
}
