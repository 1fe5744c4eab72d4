import * as tf from "@tensorflow/tfjs";

/**
 * Stochastic gradient descent with momentum, Nesterov's or plain, and coupled weight decay, to PyTorch's formula:
 *
 *     g ← ∇ + λ·w,   v ← μ·v + g,   w ← w − η·(g + μ·v)   (Nesterov)   or   w ← w − η·v
 *
 * Here each column of a parameter belongs to a trial with its own η and λ, and the same is written with two savings.
 * The loss gradient arrives already multiplied by −η, for its columns are scaled where they are still a small matrix
 * (batch × columns). And the momentum is kept as n = −ημ·v, what the next step adds to begin with, so that a step is five
 * passes over memory, three without weight decay:
 *
 *     q = −η∇ − ηλ·w,   p = n + q,   n ← μ·p,   w ← w + q + n   (Nesterov)   or   w ← w + p
 *
 * n depends on η, so it is multiplied by η′/η where the rate changes. A rate of 0 would lose it: see `leastFactor`.
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

/** A tensor that is trained, and its momentum n (as above); both of the parameter's shape. */
export interface SgdParameter {
  value: tf.Tensor;
  momentum: tf.Tensor;
}

export interface SgdStep {
  parameter: SgdParameter;
  /** −η·∇ of the parameter's shape. */
  scaledGradient: tf.Tensor;
  /** −η·λ, broadcast to the parameter's shape; undefined where nothing is decayed. */
  scaledDecay?: tf.Tensor;
  /** η′/η since the last step: a number where all trials share a schedule, else broadcast to the parameter's shape. */
  rateChange: number | tf.Tensor;
}

/** Replaces the parameter's tensors by those after one step (kept beyond any tidy); the old ones are disposed. */
export function sgdStep(sgd: Sgd, step: SgdStep): void {
  const { parameter } = step;
  const before = { ...parameter };
  const after = tf.tidy(() => ({ ...sgdMove(sgd, step) }));
  parameter.value = tf.keep(after.value);
  parameter.momentum = tf.keep(after.momentum);
  before.value.dispose();
  before.momentum.dispose();
}

/** Weights and momentum after one step. */
export function sgdMove({ momentum, nesterov }: Sgd, step: SgdStep): SgdParameter {
  const { parameter, scaledGradient, scaledDecay, rateChange } = step;
  const w = parameter.value;
  const n = rateChange === 1 ? parameter.momentum : tf.mul(parameter.momentum, rateChange);
  const q = scaledDecay ? tf.add(scaledGradient, tf.mul(w, scaledDecay)) : scaledGradient;
  const p = tf.add(n, q);
  const next = tf.mul(p, momentum);
  return { value: nesterov ? tf.addN([w, q, next]) : tf.add(w, p), momentum: next };
}
