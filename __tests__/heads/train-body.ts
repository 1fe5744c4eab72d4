import * as tf from "@tensorflow/tfjs";

import { type ChannelStatistics, updateRunning } from "../../lib/heads/batch-norm.js";
import type { HeadBody } from "../../lib/heads/body.js";
import type { BatchNormWeights, HeadWeights } from "../../lib/heads/head.js";
import { headInput, type InputForm } from "../../lib/heads/input.js";
import { type Loss, lossError, lossTargets } from "../../lib/heads/loss.js";
import { createMlpBody, type MlpBodyOptions } from "../../lib/heads/mlp-body.js";
import { withOnes } from "../../lib/heads/training-input.js";

/** A body with a momentum for each parameter. */
export function bodyOf(options: Omit<MlpBodyOptions, "createSlots">): HeadBody {
  return createMlpBody({ ...options, createSlots: (value) => ({ momentum: tf.keep(tf.zerosLike(value)) }) });
}

export interface BodyStep {
  /** Shape [seeds, batch, width + 1]. */
  input: tf.Tensor3D;
  loss: Loss;
  targets: ArrayLike<number>;
  seeds: number;
  classes: number;
  /** Of each trial. */
  lrs: number[];
  weightDecay: number;
  momentum: number;
  step: number;
}

/** One step of SGD with Nesterov's momentum to PyTorch's formula, in plain operations. */
export function sgdStepOf(body: HeadBody, options: BodyStep): void {
  const { input, loss, targets, seeds, classes, lrs, weightDecay, momentum, step } = options;
  tf.tidy(() => {
    const output = body.forward({ input, training: true, step });
    const made = lossTargets({ loss, targets, seeds, classes });
    const error = tf.div<tf.Tensor3D>(lossError(output.logits, made), tf.tensor3d(made.divisors, [seeds, 1, 1]));
    output.backward(error).forEach((gradient, i) => {
      const { parameter, kind } = body.parameters[i]!;
      const before = [parameter.value, parameter.slots.momentum!];
      const g = kind === "matrix" ? tf.add(gradient, tf.mul(parameter.value, weightDecay)) : gradient;
      const v = tf.add(tf.mul(parameter.slots.momentum!, momentum), g);
      const move = tf.mul(tf.add(g, tf.mul(v, momentum)), body.parameters[i]!.spread(lrs));
      parameter.slots.momentum = tf.keep(v);
      parameter.value = tf.keep(tf.sub(parameter.value, move));
      tf.dispose(before);
    });
  });
}

/** What stands before a body: forms of input, with running statistics of one seed where there is a batch norm. */
export interface InputStage {
  running?: ChannelStatistics;
  /** @param x shape [1, batch, width]. */
  prepare(x: tf.Tensor3D, training: boolean): tf.Tensor3D;
  /** The running statistics in the head's weights. */
  complete(weights: HeadWeights): Promise<HeadWeights>;
  dispose(): void;
}

export function inputStage(form: InputForm, channels: number, norm?: BatchNormWeights): InputStage {
  const running = norm && { mean: tf.tensor2d(norm.mean, [1, channels]), variance: tf.tensor2d(norm.variance, [1, channels]) }; // prettier-ignore
  const stage: InputStage = {
    running,
    prepare: (x, training) => {
      const { input, statistics } = headInput({ form, x, channels, running: training ? undefined : running });
      if (running && statistics) updateRunning(running, statistics, (x.shape[1] * x.shape[2]) / channels);
      return withOnes(input);
    },
    complete: async (weights) => {
      if (!norm || !running) return weights;
      const [mean, variance] = (await Promise.all([running.mean.data(), running.variance.data()])) as Float32Array[];
      return { ...weights, batchNorm: { ...norm, ...weights.batchNorm, mean: mean!, variance: variance! } };
    },
    dispose: () => tf.dispose(running ? [running.mean, running.variance] : []),
  };
  return stage;
}

/** All numbers of a head, by name, in one order. */
export function numbersOf(weights: HeadWeights): [string, ArrayLike<number>][] {
  const norm = (name: string, of?: BatchNormWeights) =>
    Object.entries(of ?? {}).map(([key, values]): [string, ArrayLike<number>] => [`${name}${key}`, values as never]);
  const found: [string, ArrayLike<number>][] = [
    ["weight", weights.weight],
    ["bias", weights.bias],
    ...norm("", weights.batchNorm),
    ...(weights.hidden ?? []).flatMap(({ weight, bias, batchNorm }, i): [string, ArrayLike<number>][] => [
      [`hidden${i}.weight`, weight],
      [`hidden${i}.bias`, bias],
      ...norm(`hidden${i}.`, batchNorm),
    ]),
  ];
  return found.sort(([a], [b]) => a.localeCompare(b));
}

export function expectSameHead(actual: HeadWeights, wanted: HeadWeights, tolerance: number): void {
  const [found, exact] = [numbersOf(actual), numbersOf(wanted)];
  expect(found.map(([name]) => name)).toEqual(exact.map(([name]) => name));
  found.forEach(([, values], i) => expectClose(values, exact[i]![1], tolerance));
}

export function expectClose(actual: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(wanted.length);
  const worst = Array.from(wanted, (value, i) => Math.abs(value - actual[i]!)).reduce((a, b) => (a > b ? a : b), 0);
  expect(worst).toBeLessThan(tolerance);
  expect(Array.from(actual).every(Number.isFinite)).toBe(true);
}
