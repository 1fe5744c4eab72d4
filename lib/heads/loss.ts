import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";

/**
 * What heads are trained by.
 *
 * - `cross_entropy`: softmax, one class an image, −1 where an image counts nothing. With label smoothing ε the target
 *   is 1 − ε + ε/C for the true class and ε/C for the others. The mean is over the images that count (PyTorch's
 *   `cross_entropy` with `ignore_index=-1`, VISSL's `cross_entropy_multiple_output_single_target`).
 * - `soft_cross_entropy`: −Σ t·log p with any targets t, the mean over all images; t is taken as it comes.
 * - `binary_cross_entropy`: a sigmoid a class; 1 present, 0 absent, −1 unknown. For each class the mean over the images
 *   that are known of it, then the sum over the classes (VISSL's `bce_logits_multiple_output_single_target`; a class of
 *   which the batch knows nothing adds nothing). So it is C times PyTorch's mean where all is known.
 */
export type Loss =
  | { kind: "cross_entropy"; /** ε in [0, 1). */ labelSmoothing: number }
  | { kind: "soft_cross_entropy" }
  | { kind: "binary_cross_entropy" };

export interface LossTargetsOptions {
  loss: Loss;
  /** Class indices or −1, shape [seeds·batch]; of the other losses one number a class: [seeds·batch, classes]. */
  targets: ArrayLike<number>;
  seeds: number;
  classes: number;
  /**
   * Of `binary_cross_entropy`, where the batch is a piece of a larger whole: what an entry of each class weighs where
   * it is known. Default: batch / known of the batch, which makes each class a mean.
   */
  classWeights?: ArrayLike<number>;
  /** Whether there are weights even where all are 1. Default: false. */
  weighted?: boolean;
}

/** A batch's targets as the loss needs them, made once for all heads. */
export interface LossTargets {
  activation: "softmax" | "sigmoid";
  /** Shape [seeds·batch, 1, classes]; zero where nothing counts. */
  target: tf.Tensor3D;
  /**
   * What the activation is multiplied by in the gradient, and each entry's loss under a sigmoid: [seeds·batch, 1, 1] or
   * [seeds·batch, 1, classes]; undefined where all is 1.
   */
  weight?: tf.Tensor3D;
  /** What makes the mean loss of the summed one, of each seed; at least 1, so that a batch of nothing moves nothing. */
  divisors: number[];
}

/** @throws UserError where a target is not one of the loss's, or their number does not fit. */
export function lossTargets(options: LossTargetsOptions): LossTargets {
  const { loss, targets, seeds, classes } = options;
  switch (loss.kind) {
    case "cross_entropy":
      return classTargets(options, loss.labelSmoothing);
    case "soft_cross_entropy":
      return softTargets(targets, seeds, classes);
    case "binary_cross_entropy":
      return binaryTargets(options);
  }
}

/**
 * The gradient of each trial's summed loss over its batch with respect to its logits. A trial's columns depend on its
 * own logits only, so one that diverges harms no other.
 *
 * @param logits shape [seeds, batch, trials·classes], trial by trial.
 * @returns of the same shape.
 */
export function lossError(logits: tf.Tensor3D, { activation, target, weight }: LossTargets): tf.Tensor3D {
  return tf.tidy(() => {
    const byTrial = splitTrials(logits, target);
    const active = activation === "softmax" ? tf.softmax(byTrial) : tf.sigmoid(byTrial);
    return tf.sub(weight ? tf.mul(active, weight) : active, target).reshape<tf.Tensor3D>(logits.shape);
  });
}

/**
 * Each trial's mean loss.
 *
 * @param logits shape [seeds, batch, trials·classes], trial by trial.
 * @returns shape [seeds, trials]; not finite where a trial has diverged.
 */
export function lossValue(logits: tf.Tensor3D, { activation, target, weight, divisors }: LossTargets): tf.Tensor2D {
  return tf.tidy(() => {
    const byTrial = splitTrials(logits, target);
    const [, trials, classes] = byTrial.shape;
    const seeds = divisors.length;
    let each: tf.Tensor;
    if (activation === "softmax") {
      each = tf.neg(tf.mul(tf.logSoftmax(byTrial), target));
    } else {
      // −t·log σ(z) − (1 − t)·log(1 − σ(z)) = softplus(z) − t·z; the target carries its weight already.
      const negative = tf.softplus(byTrial);
      each = tf.sub(weight ? tf.mul(negative, weight) : negative, tf.mul(byTrial, target));
    }
    const sum = tf.sum(each.reshape([seeds, -1, trials, classes]), [1, 3]);
    return tf.div(sum, tf.tensor2d(divisors, [seeds, 1]));
  });
}

/** [seeds, batch, trials·classes] → [seeds·batch, trials, classes]. */
function splitTrials(logits: tf.Tensor3D, target: tf.Tensor3D): tf.Tensor3D {
  const [rows, , classes] = target.shape;
  return logits.reshape([rows, logits.shape[2] / classes, classes]);
}

function classTargets(options: LossTargetsOptions, smoothing: number): LossTargets {
  const { targets: labels, seeds, classes, weighted = false } = options;
  const rows = labels.length;
  const target = new Float32Array(rows * classes);
  const counts = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const label = labels[row]!;
    if (label === -1) continue;
    if (!(Number.isInteger(label) && label >= 0 && label < classes)) {
      throw expected(`a class in 0 … ${classes - 1}, or -1`, "a label", label);
    }
    if (smoothing > 0) target.fill(smoothing / classes, row * classes, (row + 1) * classes);
    target[row * classes + label]! += 1 - smoothing;
    counts[row] = 1;
  }
  return {
    activation: "softmax",
    target: tf.tensor3d(target, [rows, 1, classes]),
    weight: weighted || counts.includes(0) ? tf.tensor3d(counts, [rows, 1, 1]) : undefined,
    divisors: Array.from({ length: seeds }, (_, s) => {
      const own = counts.subarray((s * rows) / seeds, ((s + 1) * rows) / seeds);
      return Math.max(1, own.reduce((sum, count) => sum + count, 0)); // prettier-ignore
    }),
  };
}

function softTargets(targets: ArrayLike<number>, seeds: number, classes: number): LossTargets {
  const target = Float32Array.from(targets);
  const rows = rowsOf(target, classes);
  const sums = Float32Array.from({ length: rows }, (_, row) =>
    target.subarray(row * classes, (row + 1) * classes).reduce((sum, t) => sum + t, 0),
  );
  return {
    activation: "softmax",
    target: tf.tensor3d(target, [rows, 1, classes]),
    weight: tf.tensor3d(sums, [rows, 1, 1]),
    divisors: new Array<number>(seeds).fill(rows / seeds),
  };
}

function binaryTargets(options: LossTargetsOptions): LossTargets {
  const { targets, seeds, classes, classWeights, weighted = false } = options;
  const rows = rowsOf(targets, classes);
  const batch = rows / seeds;
  const target = new Float32Array(rows * classes);
  const weight = new Float32Array(rows * classes);
  let allKnown = true;
  for (let s = 0; s < seeds; s++) {
    for (let c = 0; c < classes; c++) {
      const at = (row: number) => (s * batch + row) * classes + c;
      let known = 0;
      for (let row = 0; row < batch; row++) {
        const value = targets[at(row)]!;
        if (value !== 0 && value !== 1 && value !== -1) throw expected("1, 0 or -1", "a multi-label target", value);
        if (value >= 0) known++;
      }
      const own = classWeights?.[c] ?? batch / known;
      if (own !== 1 || known < batch) allKnown = false;
      for (let row = 0; row < batch; row++) {
        const value = targets[at(row)]!;
        if (value < 0) continue;
        weight[at(row)] = own;
        target[at(row)] = value * own;
      }
    }
  }
  return {
    activation: "sigmoid",
    target: tf.tensor3d(target, [rows, 1, classes]),
    weight: allKnown && !weighted ? undefined : tf.tensor3d(weight, [rows, 1, classes]),
    divisors: new Array<number>(seeds).fill(batch),
  };
}

function rowsOf(targets: ArrayLike<number>, classes: number): number {
  const rows = targets.length / classes;
  if (!Number.isInteger(rows)) throw expected(`rows of ${classes} numbers`, "the targets", targets.length);
  return rows;
}
