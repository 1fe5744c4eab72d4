import * as tf from "@tensorflow/tfjs";

import { adamMove } from "./adam.js";
import { larsMove } from "./lars.js";
import type { Optimizer, Parameter } from "./optimizer.js";
import { sgdStep } from "./sgd.js";

/** Those that move by one batch's gradient at a time. */
export type FirstOrderOptimizer = Exclude<Optimizer, { kind: "lbfgs" }>;

/**
 * What each trial's gradient has to be multiplied by before `update` takes it. It costs nothing where the gradient is
 * still the error of a batch, and saves SGD a pass over memory.
 *
 * @param lr the trial's learning rate η, times the schedule's factor.
 */
export function gradientScale(optimizer: FirstOrderOptimizer, lr: number): number {
  return optimizer.kind === "sgd" ? -lr : 1;
}

/**
 * What `update` takes as a trial's decay: −ηλ for SGD and AdamW, which saves them a pass over memory; λ for Adam and
 * LARS.
 *
 * @param lr the trial's learning rate η, times the schedule's factor.
 * @param weightDecay λ.
 */
export function decayScale(optimizer: FirstOrderOptimizer, lr: number, weightDecay: number): number {
  return optimizer.kind === "sgd" || optimizer.kind === "adamw" ? -lr * weightDecay : weightDecay;
}

const slotNames = {
  sgd: ["momentum"],
  lars: ["momentum"],
  adam: ["mean", "square"],
  adamw: ["mean", "square"],
} as const;

/** What the optimizer remembers of a parameter, at the start: zeros of its shape, kept beyond any tidy. */
export function createSlots(optimizer: FirstOrderOptimizer, value: tf.Tensor): Parameter["slots"] {
  return Object.fromEntries(slotNames[optimizer.kind].map((name) => [name, tf.keep(tf.zerosLike(value))]));
}

export interface UpdateOptions {
  optimizer: FirstOrderOptimizer;
  parameter: Parameter;
  /** ∇ times `gradientScale`, of the parameter's shape. */
  gradient: tf.Tensor;
  /** η of each trial, broadcast to the parameter's shape. SGD has it in gradient and decay, and does not look at it. */
  lr: tf.Tensor;
  /** `decayScale` of each trial, broadcast to the parameter's shape; undefined where nothing is decayed. */
  decay?: tf.Tensor;
  /**
   * η′/η since the last step: a number where all trials share a schedule, else broadcast to the parameter's shape. Only
   * SGD needs it; its rates never fall below `leastFactor` of the base.
   */
  rateChange: number | tf.Tensor;
  /** Of this parameter, from 1. */
  step: number;
  /** For LARS: sums of squares over what shares a norm, broadcast to the parameter's shape; zero for what is not scaled. */
  squaredNorm: (tensor: tf.Tensor) => tf.Tensor;
}

/**
 * One step. Entries of different trials never touch each other, unless `squaredNorm` mixes them.
 *
 * The parameter's tensors are replaced by those after the step, which are kept beyond any tidy; the old ones are
 * disposed.
 */
export function update(options: UpdateOptions): void {
  const { optimizer, parameter, gradient, decay, rateChange } = options;
  const { value, slots } = parameter;
  if (optimizer.kind === "sgd") {
    const sgd = { value, momentum: slots.momentum! };
    sgdStep(optimizer, { parameter: sgd, scaledGradient: gradient, scaledDecay: decay, rateChange });
    parameter.value = sgd.value;
    parameter.slots = { momentum: sgd.momentum };
    return;
  }
  const after = tf.tidy(() => {
    if (optimizer.kind !== "lars") {
      return parts(adamMove(optimizer, { ...options, parameter: { value, mean: slots.mean!, square: slots.square! } }));
    }
    return parts(larsMove(optimizer, { ...options, parameter: { value, momentum: slots.momentum! } }));
  });
  parameter.value = tf.keep(after.value);
  parameter.slots = Object.fromEntries(Object.entries(after.slots).map(([name, slot]) => [name, tf.keep(slot)]));
  tf.dispose([value, slots]);
}

function parts<T extends { value: tf.Tensor }>({ value, ...slots }: T) {
  return { value, slots: slots as Record<string, tf.Tensor> };
}
