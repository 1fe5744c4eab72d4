import * as tf from "@tensorflow/tfjs";

import type { ChannelStatistics } from "./batch-norm.js";
import type { HeadSpec } from "./head.js";
import type { InputForm } from "./input.js";
import { headInput } from "./input.js";
import { keepTransposed } from "./matrix-product.js";

/** [rows, width] a layer. */
export type LayerFeatures = Record<string, tf.Tensor2D>;

/** What a head reads of a batch in training. */
export interface TrainingInput {
  /** With a last column of ones: [seeds, batch, width + 1] */
  input: tf.Tensor3D;
  /** Of the batch, where the input is normalised by them. */
  statistics?: ChannelStatistics;
}

/** What each head reads in training, made once for all heads that read the same. */
export function trainingInputs(features: LayerFeatures, seeds: number): (head: HeadSpec) => TrainingInput {
  const made = new Map<string, TrainingInput>();
  return (head) => {
    const key = inputKey(head);
    let entry = made.get(key);
    if (!entry) {
      const { input, statistics } = headInput({ ...formOf(head), x: joined(features, head, seeds) });
      entry = { input: withOnes(input), statistics };
      keepTransposed(entry.input);
      made.set(key, entry);
    }
    return entry;
  };
}

/**
 * What a head reads in evaluation, of rows that all seeds see: [1, rows, width + 1], or [seeds, rows, width + 1] where
 * each seed has running statistics of its own.
 */
export function evaluationInput(features: LayerFeatures, head: HeadSpec, running?: ChannelStatistics): tf.Tensor3D {
  return tf.tidy(() => withOnes(headInput({ ...formOf(head), x: joined(features, head, 1), running }).input));
}

function formOf({ input, shape }: HeadSpec): { form: InputForm; channels: number } {
  return { form: input, channels: shape[0]! };
}

/** Heads with equal keys read the same. */
function inputKey({ input, reads, shape }: HeadSpec): string {
  return JSON.stringify([input === "batch_norm_plain" ? "batch_norm" : input, reads, shape]);
}

/** The layers side by side: [seeds, batch, sum of widths]. */
function joined(features: LayerFeatures, { reads }: HeadSpec, seeds: number): tf.Tensor3D {
  const layers = reads.map((name) => features[name]!);
  const side = layers.length === 1 ? layers[0]! : tf.concat2d(layers, 1);
  return side.reshape([seeds, side.shape[0] / seeds, side.shape[1]]);
}

/** With a last column of ones, for the bias. */
export function withOnes(x: tf.Tensor3D): tf.Tensor3D {
  return tf.pad3d(x, [[0, 0], [0, 0], [0, 1]], 1); // prettier-ignore
}
