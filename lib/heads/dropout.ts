import * as tf from "@tensorflow/tfjs";

import { random } from "../random.js";
import type { Layer } from "./layer.js";

export interface DropoutOptions {
  /** In [0, 1): of a number to become zero; the others are divided by 1 − p. */
  probability: number;
  /** One a seed. */
  seeds: number[];
  trials: number;
  /** Which of a head's hidden layers. */
  layer: number;
}

/**
 * Dropout on [seeds·trials, batch, width]. What is dropped depends on seed, layer and step, so that a run that goes on
 * drops what it would have dropped; and not on the trial, so that a trial alone is what it is among others.
 */
export function dropout(options: DropoutOptions): Layer {
  const { trials, seeds } = options;
  return {
    parameters: [],
    forward: (x, { training, step }) => {
      if (!training) return { output: x, backward: (error) => ({ error, parameters: [] }) };
      const [, batch, width] = x.shape;
      const mask = dropoutMask({ ...options, step, batch, width });
      const masked = (whole: tf.Tensor3D) =>
        tf.mul(whole.reshape([seeds.length, trials, batch, width]), mask).reshape<tf.Tensor3D>(whole.shape);
      return { output: masked(x), backward: (error) => ({ error: masked(error), parameters: [] }) };
    },
  };
}

/** Shape [seeds, 1, batch, width]: 0 with the probability, else 1/(1 − p). */
function dropoutMask(options: DropoutOptions & { step: number; batch: number; width: number }): tf.Tensor4D {
  const { probability, seeds, layer, step, batch, width } = options;
  const kept = 1 / (1 - probability);
  const size = batch * width;
  const mask = new Float32Array(seeds.length * size);
  seeds.forEach((seed, s) => {
    const stream = random(seed, "dropout", layer, step);
    for (let i = s * size; i < (s + 1) * size; i++) mask[i] = stream.uniform() < probability ? 0 : kept;
  });
  return tf.tensor4d(mask, [seeds.length, 1, batch, width]);
}
