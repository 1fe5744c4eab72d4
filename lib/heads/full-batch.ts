import * as tf from "@tensorflow/tfjs";

import type { Block } from "./block.js";
import { isDecayed } from "./block.js";
import type { LossTargets } from "./loss.js";
import { lossError, lossValue } from "./loss.js";

/**
 * Some trials of a head for all seeds as independent functions of their parameters, as a minimiser wants them: a row of
 * [K, P] for each seed and trial, seed by seed. P is all that one head trains.
 */
export interface HeadProblems {
  /** Step to try first of each problem: the trial's learning rate. */
  lr: number[];
  /** Where the weights are now: [K, P]. */
  read(): tf.Tensor2D;
  write(x: tf.Tensor2D): void;
  /** ½·λ‖w‖² over what is decayed: [K]. */
  penalty(x: tf.Tensor2D): tf.Tensor1D;
  /** Its gradient: [K, P]. */
  penaltyGradient(x: tf.Tensor2D): tf.Tensor2D;
  /**
   * What some images add at the weights that were written: losses summed over them, [K], and their gradients, [K, P].
   *
   * @param options.input with a last column of ones, for all seeds: [1, batch, width + 1].
   * @param options.targets the same for all seeds.
   */
  sums(options: { input: tf.Tensor3D; targets: LossTargets }): { losses: tf.Tensor1D; gradient: tf.Tensor2D };
  dispose(): void;
}

export function headProblems(block: Block, seeds: number): HeadProblems {
  const { trials, body, regularised } = block;
  const { parameters } = body;
  const inRows = (tensors: tf.Tensor[]) =>
    tf.concat2d(parameters.map(({ toRows }, p) => toRows(tensors[p]!)), 1); // prettier-ignore
  const sizes = parameters.map(({ parameter }) => parameter.value.size / (seeds * trials.length));
  const lambdas = trials.map(({ weightDecay }) => weightDecay);
  /** λ of each parameter of each problem, [K, P]: 0 of those that are not decayed. */
  const decay = tf.tidy(() =>
    inRows(
      parameters.map((own) => {
        const ones = tf.onesLike(own.parameter.value);
        return isDecayed(own, regularised) ? tf.mul(ones, own.spread(lambdas, !regularised.bias)) : tf.zerosLike(ones);
      }),
    ),
  );
  return {
    lr: Array.from({ length: seeds }, () => trials.map(({ lr }) => lr)).flat(),
    read: () => tf.tidy(() => inRows(parameters.map(({ parameter }) => parameter.value))),
    write: (x) => {
      let at = 0;
      parameters.forEach(({ parameter, fromRows }, p) => {
        const value = tf.tidy(() => tf.keep(fromRows(x.slice([0, at], [-1, sizes[p]!]))));
        parameter.value.dispose();
        parameter.value = value;
        at += sizes[p]!;
      });
    },
    penalty: (x) => tf.tidy(() => tf.mul(tf.sum<tf.Tensor1D>(tf.mul(decay, tf.square(x)), 1), 0.5)),
    penaltyGradient: (x) => tf.mul(decay, x),
    sums: ({ input, targets }) =>
      tf.tidy(() => {
        const { logits, backward } = body.forward({ input, training: true, step: 0 });
        const divisors = tf.tensor2d(targets.divisors, [seeds, 1]);
        return {
          losses: tf.mul(lossValue(logits, targets), divisors).flatten(),
          gradient: inRows(backward(lossError(logits, targets))),
        };
      }),
    dispose: () => decay.dispose(),
  };
}
