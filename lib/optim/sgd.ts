import * as tf from "@tensorflow/tfjs";

/**
 * Stochastic gradient descent with momentum, Nesterov's or plain, and coupled weight decay, to PyTorch's formula:
 *
 *     g ← ∇ + λ·w,   v ← μ·v + g,   w ← w − η·(g + μ·v)   (Nesterov)   or   w ← w − η·v
 *
 * Here each column of a parameter belongs to a trial with its own η and λ, and the same is written with two savings.
 * The loss gradient arrives already multiplied by −η, for its columns are scaled where they are still a small matrix
 * (batch × columns). And the momentum is kept as n = −ημ·v, what the next step adds to begin with, so that a step is five
 * passes over memory, four without weight decay:
 *
 *     q = −η∇ − ηλ·w,   p = n + q,   n ← μ·p,   w ← w + q + n   (Nesterov)   or   w ← w + p
 *
 * n depends on η, so it is multiplied by η′/η where the rate changes.
 */
export interface Sgd {
  /** In [0, 1). */
  momentum: number;
  nesterov: boolean;
}

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
  /** η′/η since the last step. */
  rateChange: number;
}

/** Replaces the parameter's tensors by those after one step (kept beyond any tidy); the old ones are disposed. */
export function sgdStep({ momentum, nesterov }: Sgd, step: SgdStep): void {
  const { parameter, scaledGradient, scaledDecay, rateChange } = step;
  const before = { ...parameter };
  tf.tidy(() => {
    const w = before.value;
    const n = rateChange === 1 ? before.momentum : tf.mul(before.momentum, rateChange);
    const q = scaledDecay ? tf.add(scaledGradient, tf.mul(w, scaledDecay)) : scaledGradient;
    const p = tf.add(n, q);
    parameter.momentum = tf.keep(tf.mul(p, momentum));
    parameter.value = tf.keep(nesterov ? tf.addN([w, q, parameter.momentum]) : tf.add(w, p));
  });
  before.value.dispose();
  before.momentum.dispose();
}
