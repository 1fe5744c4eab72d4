import * as tf from "@tensorflow/tfjs";

/**
 * Adam with coupled weight decay (g ← ∇ + λ·w) and AdamW with decoupled (w ← w·(1 − ηλ)), to PyTorch's formula:
 *
 *     m ← β₁m + (1 − β₁)g,   v ← β₂v + (1 − β₂)g²,   w ← w − η/(1 − β₁ᵗ) · m / (√(v/(1 − β₂ᵗ)) + ε)
 *
 * Kept are m/(1 − β₁) and v/(1 − β₂), which saves two passes over memory; the constants go into those of the last line.
 *
 * Sources: Kingma and Ba 2015 (arXiv 1412.6980); Loshchilov and Hutter 2019 (arXiv 1711.05101); torch.optim.
 */
export interface Adam {
  kind: "adam" | "adamw";
  beta1: number;
  beta2: number;
  epsilon: number;
}

export interface AdamParameter {
  value: tf.Tensor;
  /** m/(1 − β₁). */
  mean: tf.Tensor;
  /** v/(1 − β₂). */
  square: tf.Tensor;
}

export interface AdamStep {
  parameter: AdamParameter;
  gradient: tf.Tensor;
  /** η, broadcast to the parameter's shape. */
  lr: tf.Tensor;
  /** λ for Adam, −ηλ for AdamW, broadcast to the parameter's shape; undefined where nothing is decayed. */
  decay?: tf.Tensor;
  /** From 1. */
  step: number;
}

/** Weights and moments after one step. */
export function adamMove({ kind, beta1, beta2, epsilon }: Adam, options: AdamStep): AdamParameter {
  const { parameter, gradient, lr, decay, step } = options;
  const decayed = decay && tf.mul(parameter.value, decay);
  const g = decayed && kind === "adam" ? tf.add(gradient, decayed) : gradient;
  const mean = tf.add(tf.mul(parameter.mean, beta1), g);
  const square = tf.add(tf.mul(parameter.square, beta2), tf.square(g));
  // √(v/(1 − β₂ᵗ)) + ε = c·(√square + ε/c)
  const c = Math.sqrt((1 - beta2) / (1 - beta2 ** step));
  const rate = tf.mul(lr, -(1 - beta1) / (1 - beta1 ** step) / c);
  const move = tf.mul(tf.div(mean, tf.add(tf.sqrt(square), epsilon / c)), rate);
  const value = decayed && kind === "adamw" ? tf.addN([parameter.value, decayed, move]) : tf.add(parameter.value, move);
  return { value, mean, square };
}
