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
 * Some trials of one head for all seeds, trained as one tensor: columns are trials × classes, trial by trial. What a
 * step does to a column depends on its own trial and seed alone.
 *
 * Inputs have a last column of ones and the matrix a last row, the bias: so it needs no operations of its own, and the
 * sum of the error over the batch is the last row of the product that makes the gradient.
 */
export interface Block {
  trials: Trial[];
  classes: number;
  /** Shape [seeds, width + 1, trials·classes]. */
  weight: SgdParameter;
  /** γ and β of batch norm, shape [seeds·C, trials]; undefined for a head without. */
  batchNorm?: { gamma: SgdParameter; beta: SgdParameter };
  /**
   * −η/batch and −ηλ of each column at the schedule's factor and the batch size of the last step; the first of shape
   * [1, 1, columns], the second broadcast to the matrix.
   */
  rates?: { batch: number; gradient: tf.Tensor3D; decay?: tf.Tensor3D };
}

/** @param start of each seed. */
export function createBlock(start: HeadWeights[], trials: Trial[], classes: number): Block {
  const repeated = (rows: Float32Array[], shape: number[], axis: number): SgdParameter =>
    tf.tidy(() => {
      const one = tf.tensor(concatenated(rows), shape);
      const value = tf.tile(
        one,
        shape.map((_, a) => (a === axis ? trials.length : 1)),
      );
      return { value: tf.keep(value), momentum: tf.keep(tf.zerosLike(value)) };
    });
  const [first] = start as [HeadWeights];
  const width = first.weight.length / classes;
  const norms = start.flatMap(({ batchNorm }) => batchNorm ?? []);
  const channels = norms[0]?.gamma.length ?? 0;
  const matrices = start.flatMap(({ weight, bias }) => [weight, bias]);
  return {
    trials,
    classes,
    weight: repeated(matrices, [start.length, width + 1, classes], 2),
    batchNorm: first.batchNorm && {
      gamma: repeated(norms.map(({ gamma }) => gamma), [start.length * channels, 1], 1), // prettier-ignore
      beta: repeated(norms.map(({ beta }) => beta), [start.length * channels, 1], 1), // prettier-ignore
    },
  };
}

/** Sets the learning rates to the schedule's factor × each trial's own. */
export function setRates(
  block: Block,
  { factor, batch, regularizeBias }: { factor: number; batch: number; regularizeBias: boolean },
): void {
  disposeRates(block);
  const { trials, classes, weight } = block;
  const row = (of: (trial: Trial) => number) =>
    tf.tensor3d(
      trials.flatMap((trial) => new Array<number>(classes).fill(of(trial))),
      [1, 1, trials.length * classes],
    );
  const decayOf = (): tf.Tensor3D => {
    const decay = row(({ lr, weightDecay }) => -lr * factor * weightDecay);
    if (regularizeBias) return decay;
    return tf.tidy(() => {
      const width = weight.value.shape[1]! - 1;
      return tf.concat([tf.tile(decay, [1, width, 1]), tf.zerosLike(decay)], 1);
    });
  };
  block.rates = tf.tidy(() => ({
    batch,
    gradient: tf.keep(row(({ lr }) => (-lr * factor) / batch)),
    decay: trials.some(({ weightDecay }) => weightDecay > 0) ? tf.keep(decayOf()) : undefined,
  }));
}

export interface BlockStep {
  sgd: Sgd;
  /** What the linear layer reads, with its column of ones: [seeds, batch, width + 1]. */
  input: tf.Tensor3D;
  /** [seeds, batch, columns] → inputᵀ·error, [seeds, width + 1, columns]. */
  transposedProduct: (error: tf.Tensor3D) => tf.Tensor3D;
  /** Shape [seeds·batch, 1, classes]. */
  oneHot: tf.Tensor3D;
  /** η′/η since the last step. */
  rateChange: number;
}

/** One step of every trial of the block. */
export function stepBlock(block: Block, { sgd, input, transposedProduct, oneHot, rateChange }: BlockStep): void {
  const { gradient: scale, decay } = block.rates!;
  const update = (parameter: SgdParameter, scaledGradient: tf.Tensor, scaledDecay?: tf.Tensor) =>
    sgdStep(sgd, { parameter, scaledGradient, scaledDecay, rateChange });
  tf.tidy(() => {
    const error = crossEntropyGradient(blockLogits(block, input), oneHot, scale);
    const product = transposedProduct(error);
    if (block.batchNorm) {
      const gradients = batchNormGradients(block, product);
      update(block.weight, gradients.weight, decay);
      update(block.batchNorm.gamma, gradients.gamma);
      update(block.batchNorm.beta, gradients.beta);
    } else {
      update(block.weight, product, decay);
    }
  });
}

/**
 * Scores of every trial: [seeds, batch, trials·classes]. γ and β are folded into the matrix, so that it is one product.
 */
export function blockLogits(block: Block, input: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => {
    const { weight, batchNorm } = block;
    if (!batchNorm) return tf.matMul<tf.Tensor3D>(input, weight.value);
    const { matrix, bias } = parts(weight.value as tf.Tensor3D);
    const byChannel = splitByChannel(block, matrix);
    const folded = tf.mul(byChannel, alongChannels(batchNorm.gamma.value)).reshape<tf.Tensor3D>(matrix.shape);
    const shift = sumOfChannels(block, tf.mul(byChannel, alongChannels(batchNorm.beta.value)));
    return tf.matMul<tf.Tensor3D>(input, tf.concat3d([folded, tf.add<tf.Tensor3D>(bias, shift)], 1));
  });
}

/**
 * With y = Σ_d (γ_c·x̂_d + β_c)·w_d, P = x̂ᵀ·error and e the sum of the error over the batch:
 * ∂w_d = γ_c·P_d + β_c·e,  ∂γ_c = Σ w_d·P_d,  ∂β_c = Σ w_d·e, the sums over the channel's positions and the classes.
 */
function batchNormGradients(block: Block, product: tf.Tensor3D) {
  const gamma = alongChannels(block.batchNorm!.gamma.value);
  const beta = alongChannels(block.batchNorm!.beta.value);
  const { matrix: ofMatrix, bias: errorSum } = parts(product);
  const w = splitByChannel(block, parts(block.weight.value as tf.Tensor3D).matrix);
  const p = splitByChannel(block, ofMatrix);
  const e = toEachChannel(block, errorSum);
  const ofWeight = tf.add(tf.mul(p, gamma), tf.mul(beta, e)).reshape<tf.Tensor3D>(ofMatrix.shape);
  return {
    weight: tf.concat3d([ofWeight, errorSum], 1),
    gamma: tf.sum(tf.mul(w, p), [1, 3]),
    beta: tf.sum(tf.mul(w, e), [1, 3]),
  };
}

/** The matrix without its last row, and the last row. */
function parts(whole: tf.Tensor3D): { matrix: tf.Tensor3D; bias: tf.Tensor3D } {
  const width = whole.shape[1] - 1;
  return { matrix: whole.slice([0, 0, 0], [-1, width, -1]), bias: whole.slice([0, width, 0], [-1, 1, -1]) };
}

function channelsOf({ batchNorm, weight }: Block): number {
  return batchNorm!.gamma.value.shape[0] / weight.value.shape[0];
}

/** [seeds, C·positions, trials·classes] → [seeds·C, positions, trials, classes]. */
function splitByChannel(block: Block, matrix: tf.Tensor3D): tf.Tensor4D {
  const [seeds, width] = matrix.shape;
  const channels = channelsOf(block);
  return matrix.reshape([seeds * channels, width / channels, block.trials.length, block.classes]);
}

/** [seeds·C, positions, trials, classes] → [seeds, 1, trials·classes]. */
function sumOfChannels(block: Block, byChannel: tf.Tensor): tf.Tensor3D {
  const [seeds, , columns] = block.weight.value.shape as [number, number, number];
  return tf.sum<tf.Tensor3D>(byChannel.reshape([seeds, -1, columns]), 1, true);
}

/** [seeds, 1, trials·classes] → [seeds·C, 1, trials, classes]. */
function toEachChannel(block: Block, row: tf.Tensor3D): tf.Tensor4D {
  const channels = channelsOf(block);
  const { trials, classes } = block;
  return tf.tile(row, [1, channels, 1]).reshape([-1, 1, trials.length, classes]);
}

/** [seeds·C, trials] → [seeds·C, 1, trials, 1]. */
function alongChannels(parameter: tf.Tensor): tf.Tensor4D {
  const [rows, trials] = parameter.shape as [number, number];
  return parameter.reshape([rows, 1, trials, 1]);
}

/** Sets the marked trials' weights and momentum to zero for one seed, so that what they overflowed to is gone. */
export function zeroTrials(block: Block, seed: number, marked: boolean[]): void {
  const seeds = block.weight.value.shape[0];
  for (const parameter of parametersOf(block)) {
    for (const key of ["value", "momentum"] as const) {
      const before = parameter[key];
      parameter[key] = tf.tidy(() => {
        const trials = marked.length;
        const bySeed = before.reshape([seeds, -1, trials, before.shape.at(-1)! / trials]);
        const mask = tf.tensor(
          Array.from({ length: seeds * trials }, (_, i) => Math.floor(i / trials) === seed && marked[i % trials]!),
          [seeds, 1, trials, 1],
          "bool",
        );
        const everywhere = tf.logicalAnd(mask, tf.onesLike(bySeed).toBool());
        return tf.keep(tf.where(everywhere, tf.zerosLike(bySeed), bySeed).reshape(before.shape));
      });
      before.dispose();
    }
  }
}

export function parametersOf({ weight, batchNorm }: Block): SgdParameter[] {
  return [weight, ...(batchNorm ? [batchNorm.gamma, batchNorm.beta] : [])];
}

export function disposeRates(block: Block): void {
  block.rates?.gradient.dispose();
  block.rates?.decay?.dispose();
  block.rates = undefined;
}

function concatenated(pieces: Float32Array[]): Float32Array {
  const whole = new Float32Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
