import * as tf from "@tensorflow/tfjs";

import type { ChannelStatistics } from "./batch-norm.js";
import { channelStatistics, normalise } from "./batch-norm.js";
import type { HeadSpec } from "./head.js";
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
      const joined = joinedFeatures(features, head);
      const [rows, width] = joined.shape;
      const x = joined.reshape<tf.Tensor3D>([seeds, rows / seeds, width]);
      const statistics = normalisesBatch(head) ? channelStatistics(x, head.shape[0]!) : undefined;
      const input = withOnes(statistics ? normalise(x, statistics) : x);
      keepTransposed(input);
      entry = { input, statistics };
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
  return tf.tidy(() => {
    const x = joinedFeatures(features, head).expandDims<tf.Tensor3D>(0);
    return withOnes(running ? normalise(x, running) : x);
  });
}

export function normalisesBatch({ input }: HeadSpec): boolean {
  return input === "batch_norm" || input === "batch_norm_plain";
}

/** Heads with equal keys read the same. */
function inputKey(head: HeadSpec): string {
  return JSON.stringify([normalisesBatch(head) ? "batch_norm" : head.input, head.reads, head.shape]);
}

/** The layers side by side: [rows, sum of widths], of length 1 where the head wants that. */
function joinedFeatures(features: LayerFeatures, { reads, input }: HeadSpec): tf.Tensor2D {
  return tf.tidy(() => {
    const layers = reads.map((name) => features[name]!);
    const joined = layers.length === 1 ? layers[0]! : tf.concat2d(layers, 1);
    if (input !== "l2") return joined.clone();
    const length = tf.sqrt(tf.sum(tf.square(joined), 1, true));
    return tf.div<tf.Tensor2D>(joined, tf.maximum(length, leastLength));
  });
}

/** As torch.nn.functional.normalize has it. */
const leastLength = 1e-12;

/** With a last column of ones, for the bias. */
export function withOnes(x: tf.Tensor3D): tf.Tensor3D {
  return tf.pad3d(x, [[0, 0], [0, 0], [0, 1]], 1); // prettier-ignore
}

/** Shape [labels, 1, classes]. */
export function oneHotOf(labels: Int32Array, classes: number): tf.Tensor3D {
  const data = new Float32Array(labels.length * classes);
  labels.forEach((label, row) => (data[row * classes + label] = 1));
  return tf.tensor3d(data, [labels.length, 1, classes]);
}
