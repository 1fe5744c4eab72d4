import * as tf from "@tensorflow/tfjs";

import type { Sgd, SgdParameter } from "../optim/sgd.js";
import { sgdStep } from "../optim/sgd.js";
import { crossEntropyGradient } from "./cross-entropy.js";
import type { HeadWeights } from "./head.js";

/** One setting of a sweep. */
export interface Trial {
  /** Base learning rate, above 0; the schedule multiplies it. */
  lr: number;
  /** At least 0. */
  weightDecay: number;
}

/**
 * Some trials of one head, trained as one matrix: the columns are trials × classes, trial by trial. What a step does to
 * a column depends on its own trial alone.
 */
export interface Block {
  trials: Trial[];
  classes: number;
  /** Shape [width, trials·classes]. */
  weight: SgdParameter;
  /** Shape [1, trials·classes]. */
  bias: SgdParameter;
  /** γ and β of batch norm, shape [C, trials]; undefined for a head without. */
  batchNorm?: { gamma: SgdParameter; beta: SgdParameter };
  /** −η and −ηλ of each column, shape [1, trials·classes], at the schedule's factor of the last step. */
  rates?: { negative: tf.Tensor2D; decay?: tf.Tensor2D };
}

export function createBlock(start: HeadWeights, trials: Trial[], classes: number): Block {
  const repeated = (data: Float32Array, columns: number): SgdParameter =>
    tf.tidy(() => {
      const value = tf.tile(tf.tensor2d(data, [data.length / columns, columns]), [1, trials.length]);
      return { value: tf.keep(value), momentum: tf.keep(tf.zerosLike(value)) };
    });
  return {
    trials,
    classes,
    weight: repeated(start.weight, classes),
    bias: repeated(start.bias, classes),
    batchNorm: start.batchNorm && {
      gamma: repeated(start.batchNorm.gamma, 1),
      beta: repeated(start.batchNorm.beta, 1),
    },
  };
}

/** Sets the learning rates to the schedule's factor × each trial's own. */
export function setRates(block: Block, factor: number): void {
  disposeRates(block);
  const { trials, classes } = block;
  const row = (of: (trial: Trial) => number) =>
    tf.tensor2d(
      trials.flatMap((trial) => new Array<number>(classes).fill(of(trial))),
      [1, trials.length * classes],
    );
  block.rates = {
    negative: row(({ lr }) => -lr * factor),
    decay: trials.some(({ weightDecay }) => weightDecay > 0)
      ? row(({ lr, weightDecay }) => -lr * factor * weightDecay)
      : undefined,
  };
}

export interface BlockStep {
  sgd: Sgd;
  regularizeBias: boolean;
  /** What the linear layer reads: features, or features normalised by the batch. Shape [batch, width]. */
  input: tf.Tensor2D;
  /** The same, transposed. */
  transposed: tf.Tensor2D;
  /** Shape [batch, 1, classes]. */
  oneHot: tf.Tensor3D;
  /** η′/η since the last step. */
  rateChange: number;
}

/** One step of every trial of the block. */
export function stepBlock(block: Block, step: BlockStep): void {
  const { sgd, regularizeBias, input, transposed, oneHot, rateChange } = step;
  const { negative, decay } = block.rates!;
  const update = (parameter: SgdParameter, scaledGradient: tf.Tensor, scaledDecay?: tf.Tensor) =>
    sgdStep(sgd, { parameter, scaledGradient, scaledDecay, rateChange });
  tf.tidy(() => {
    const scale = tf.div<tf.Tensor2D>(negative, input.shape[0]);
    const error = crossEntropyGradient(blockLogits(block, input), oneHot, scale);
    const product = tf.matMul<tf.Tensor2D>(transposed, error);
    const errorSum = tf.sum<tf.Tensor2D>(error, 0, true);
    if (block.batchNorm) {
      const gradients = batchNormGradients(block, product, errorSum);
      update(block.weight, gradients.weight, decay);
      update(block.batchNorm.gamma, gradients.gamma);
      update(block.batchNorm.beta, gradients.beta);
    } else {
      update(block.weight, product, decay);
    }
    update(block.bias, errorSum, regularizeBias ? decay : undefined);
  });
}

/** Scores of every trial: [batch, trials·classes]. γ and β are folded into the matrix, so that it is one product. */
export function blockLogits(block: Block, input: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => {
    const { weight, bias, batchNorm } = block;
    if (!batchNorm) return tf.add<tf.Tensor2D>(tf.matMul(input, weight.value as tf.Tensor2D), bias.value);
    const byChannel = splitByChannel(block, weight.value);
    const folded = tf.mul(byChannel, alongChannels(batchNorm.gamma.value)).reshape(weight.value.shape);
    const shift = tf.sum(tf.mul(byChannel, alongChannels(batchNorm.beta.value)), [0, 1]).reshape(bias.value.shape);
    return tf.add<tf.Tensor2D>(tf.matMul(input, folded as tf.Tensor2D), tf.add(bias.value, shift));
  });
}

/**
 * With y = Σ_d (γ_c·x̂_d + β_c)·w_d, P = x̂ᵀ·error and e the sum of the error over the batch:
 * ∂w_d = γ_c·P_d + β_c·e,  ∂γ_c = Σ w_d·P_d,  ∂β_c = Σ w_d·e, the sums over the channel's positions and the classes.
 */
function batchNormGradients(block: Block, product: tf.Tensor2D, errorSum: tf.Tensor2D) {
  const gamma = alongChannels(block.batchNorm!.gamma.value);
  const beta = alongChannels(block.batchNorm!.beta.value);
  const w = splitByChannel(block, block.weight.value);
  const p = splitByChannel(block, product);
  const e = errorSum.reshape([1, 1, block.trials.length, block.classes]);
  return {
    weight: tf.add(tf.mul(p, gamma), tf.mul(beta, e)).reshape(product.shape),
    gamma: tf.sum(tf.mul(w, p), [1, 3]),
    beta: tf.sum(tf.mul(w, e), [1, 3]),
  };
}

/** [C·positions, trials·classes] → [C, positions, trials, classes]. */
function splitByChannel({ batchNorm, trials, classes }: Block, matrix: tf.Tensor): tf.Tensor4D {
  const channels = batchNorm!.gamma.value.shape[0]!;
  return matrix.reshape([channels, matrix.shape[0]! / channels, trials.length, classes]);
}

/** [C, trials] → [C, 1, trials, 1]. */
function alongChannels(parameter: tf.Tensor): tf.Tensor4D {
  const [channels, trials] = parameter.shape as [number, number];
  return parameter.reshape([channels, 1, trials, 1]);
}

/** Sets the marked trials' weights and momentum to zero, so that what they overflowed to is gone. */
export function zeroTrials(block: Block, marked: boolean[]): void {
  for (const parameter of parametersOf(block)) {
    const each = parameter.value.shape[1]! / block.trials.length;
    for (const key of ["value", "momentum"] as const) {
      const before = parameter[key];
      parameter[key] = tf.tidy(() => {
        const mask = tf.tensor2d(
          marked.flatMap((mark) => new Array<boolean>(each).fill(mark)),
          [1, marked.length * each],
          "bool",
        );
        return tf.keep(tf.where(mask.tile([before.shape[0]!, 1]), tf.zerosLike(before), before));
      });
      before.dispose();
    }
  }
}

export function parametersOf({ weight, bias, batchNorm }: Block): SgdParameter[] {
  return [weight, bias, ...(batchNorm ? [batchNorm.gamma, batchNorm.beta] : [])];
}

export function disposeRates(block: Block): void {
  block.rates?.negative.dispose();
  block.rates?.decay?.dispose();
  block.rates = undefined;
}
