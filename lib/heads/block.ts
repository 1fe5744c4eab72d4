import * as tf from "@tensorflow/tfjs";

import type { Optimizer } from "../optim/optimizer.js";
import type { Schedule, ScheduleMoment } from "../optim/schedule.js";
import { learningRateFactor } from "../optim/schedule.js";
import { leastFactor } from "../optim/sgd.js";
import type { FirstOrderOptimizer } from "../optim/update.js";
import { createSlots, decayScale, gradientScale, update } from "../optim/update.js";
import type { BodyParameter, HeadBody } from "./body.js";
import type { LossTargets } from "./loss.js";
import { lossError } from "./loss.js";

/** One setting of a sweep. */
export interface Trial {
  /** Base learning rate, above 0; the schedule multiplies it. */
  lr: number;
  /** At least 0. */
  weightDecay: number;
  optimizer: Optimizer;
  schedule: Schedule;
}

/** What of a head weight decay holds for, beside its matrices. VISSL's benchmark: biases, but not batch norm. */
export interface Regularised {
  bias: boolean;
  /** γ of batch norms; β too where biases are. */
  norm: boolean;
}

/**
 * Some trials of one head for all seeds, of one optimizer and one schedule, trained as one. What a step does to a trial
 * depends on its own weights and settings alone.
 */
export interface Block {
  trials: Trial[];
  body: HeadBody;
  regularised: Regularised;
  /** Steps that were made. */
  steps: number;
  /** The schedule's factor at the last step. */
  factor: number;
  rates?: BlockRates;
}

/** What depends on the schedule's factor and the loss's divisors alone. */
interface BlockRates {
  factor: number;
  divisors: string;
  /** What each column of the loss's gradient is multiplied with: [seeds or 1, 1, trials·classes]. */
  gradient: tf.Tensor3D;
  /** Of each parameter, broadcast to it. */
  parameters: { lr: tf.Tensor; decay?: tf.Tensor }[];
}

export function createBlock(options: {
  trials: Trial[];
  regularised: Regularised;
  createBody: (createSlotsOf: (value: tf.Tensor) => Record<string, tf.Tensor>) => HeadBody;
}): Block {
  const { trials, regularised, createBody } = options;
  const { optimizer } = trials[0]!;
  // What L-BFGS remembers is not of a parameter, but of the whole.
  const slotsOf = (value: tf.Tensor) => (optimizer.kind === "lbfgs" ? {} : createSlots(optimizer, value));
  return { trials, regularised, body: createBody(slotsOf), steps: 0, factor: 1 };
}

/**
 * Sets the rates of a step that is about to be made.
 *
 * @returns η′/η since the step before.
 */
export function prepareStep(block: Block, targets: LossTargets, moment: ScheduleMoment): number {
  const { trials } = block;
  const wanted = learningRateFactor(trials[0]!.schedule, moment);
  // The momentum of SGD is kept in units of the rate, and must not lose its digits.
  const factor = optimizerOf(trials).kind === "sgd" ? Math.max(wanted, leastFactor) : wanted;
  const rateChange = factor / block.factor;
  block.factor = factor;
  block.steps++;
  setRates(block, targets);
  return rateChange;
}

/**
 * The gradients of the parameters in the step that is prepared, multiplied by its rates. In the tidy of the caller.
 *
 * @param input what the body reads, with its column of ones: [seeds, batch, width + 1].
 */
export function blockGradients({ body, steps, rates }: Block, input: tf.Tensor3D, targets: LossTargets): tf.Tensor[] {
  const { logits, backward } = body.forward({ input, training: true, step: steps });
  return backward(tf.mul(lossError(logits, targets), rates!.gradient));
}

/** Moves every parameter in the step that is prepared. */
export function moveBlock({ trials, body, steps, rates }: Block, gradients: tf.Tensor[], rateChange: number): void {
  const optimizer = optimizerOf(trials);
  body.parameters.forEach(({ parameter, squaredNorm }, p) => {
    const own = rates!.parameters[p]!;
    update({ optimizer, parameter, gradient: gradients[p]!, ...own, rateChange, step: steps, squaredNorm });
  });
}

/** Makes the rates fit the schedule's factor and the batch, where they do not already. */
export function setRates(block: Block, { divisors, target }: LossTargets): void {
  const { trials, body, factor } = block;
  if (block.rates?.divisors === String(divisors) && block.rates.factor === factor) return;
  disposeRates(block);
  const columns = trials.length * target.shape[2];
  const optimizer = optimizerOf(trials);
  const apart = divisors.some((divisor) => divisor !== divisors[0]);
  const scales = (apart ? divisors : divisors.slice(0, 1)).map((divisor) =>
    trials.flatMap(({ lr }) =>
      new Array<number>(columns / trials.length).fill(gradientScale(optimizer, lr * factor) / divisor),
    ),
  );
  const decays = trials.map(({ lr, weightDecay }) => decayScale(optimizer, lr * factor, weightDecay));
  block.rates = tf.tidy(() => ({
    factor,
    divisors: String(divisors),
    gradient: tf.keep(tf.tensor3d(scales.flat(), [scales.length, 1, columns])),
    parameters: body.parameters.map((parameter) => {
      const decayed = decays.some((decay) => decay !== 0) && isDecayed(parameter, block.regularised);
      return {
        lr: tf.keep(parameter.spread(trials.map(({ lr }) => lr * factor))),
        decay: decayed ? tf.keep(parameter.spread(decays, !block.regularised.bias)) : undefined,
      };
    }),
  }));
}

/** Whether weight decay holds for a parameter (of a matrix perhaps without its biases). */
export function isDecayed({ kind, name }: BodyParameter, { bias, norm }: Regularised): boolean {
  return kind === "matrix" || (norm && (bias || !name.endsWith("beta")));
}

function optimizerOf(trials: Trial[]): FirstOrderOptimizer {
  const { optimizer } = trials[0]!;
  if (optimizer.kind === "lbfgs") throw new Error("L-BFGS makes no steps of a batch");
  return optimizer;
}

export function disposeRates(block: Block): void {
  if (block.rates) tf.dispose([block.rates.gradient, ...block.rates.parameters.map((own) => ({ ...own }))]);
  block.rates = undefined;
}
