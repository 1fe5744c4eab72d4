import * as tf from "@tensorflow/tfjs";

import { nativeMomentum } from "./native-momentum.js";

/**
 * Stochastic gradient descent with momentum, Nesterov's or plain, and coupled weight decay, to PyTorch's formula:
 *
 *     g ← ∇ + λ·w,   v ← μ·v + g,   w ← w − η·(g + μ·v)   (Nesterov)   or   w ← w − η·v
 *
 * Here each column of a parameter belongs to a trial with its own η and λ, and the same is written with two savings.
 * The loss gradient arrives already multiplied by −η, for its columns are scaled where they are still a small matrix
 * (batch × columns). And the momentum is kept as p = −η·v, so that no other pass over memory has to know η:
 *
 *     q = −η∇ − ηλ·w,   p ← μ·p + q,   w ← w + q + μ·p   (Nesterov)   or   w ← w + p
 *
 * Native TensorFlow does the last two in one pass, which makes the step three, or one without weight decay; elsewhere
 * it is six, or four. p depends on η, so it is multiplied by η′/η where the rate changes. A rate of 0 would lose it:
 * see `leastFactor`.
 */
export interface Sgd {
  /** In [0, 1). */
  momentum: number;
  nesterov: boolean;
}

/**
 * The least factor of a schedule at which the scaled momentum is kept; a smaller one (warm-up from 0, the end of a
 * cosine) is taken for this. Scaling a float by it and back loses nothing but one rounding each, for only the exponent
 * moves: rates of 1e-8 with gradients of 1e-15 still stand above the least float, 1e-38. And a step at a trillionth of
 * the rate is less than the rounding of any weight that the whole rate moves.
 */
export const leastFactor = 1e-12;

/** A tensor that is trained, and its momentum p (as above); both of the parameter's shape. */
export interface SgdParameter {
  value: tf.Tensor;
  momentum: tf.Tensor;
}

export interface SgdStep {
  parameter: SgdParameter;
  /** −η·∇ of the parameter's shape; disposed where TensorFlow works in place. */
  scaledGradient: tf.Tensor;
  /** −η·λ, broadcast to the parameter's shape; undefined where nothing is decayed. */
  scaledDecay?: tf.Tensor;
  /** η′/η since the last step: a number where all trials share a schedule, else broadcast to the parameter's shape. */
  rateChange: number | tf.Tensor;
}

/** Replaces the parameter's tensors by those after one step (kept beyond any tidy); the old ones are disposed. */
export function sgdStep({ momentum: factor, nesterov }: Sgd, step: SgdStep): void {
  const { parameter, scaledGradient, scaledDecay, rateChange } = step;
  tf.tidy(() => {
    const { value } = parameter;
    if (rateChange !== 1) replace(parameter, { value, momentum: tf.mul(parameter.momentum, rateChange) });
    const { momentum } = parameter;
    const native = nativeMomentum({ value, momentum, scaledGradient, scaledDecay, factor, nesterov });
    replace(parameter, native ?? moved());

    function moved(): SgdParameter {
      const move = scaledDecay ? tf.add(scaledGradient, tf.mul(value, scaledDecay)) : scaledGradient;
      const next = tf.add(tf.mul(momentum, factor), move);
      return { value: nesterov ? tf.addN([value, move, tf.mul(next, factor)]) : tf.add(value, next), momentum: next };
    }
  });
}

function replace(parameter: SgdParameter, after: SgdParameter): void {
  for (const name of ["value", "momentum"] as const) {
    if (after[name] === parameter[name]) continue;
    parameter[name].dispose();
    parameter[name] = tf.keep(after[name]);
  }
}
