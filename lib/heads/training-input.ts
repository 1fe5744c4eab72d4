import * as tf from "@tensorflow/tfjs";

import type { ChannelStatistics } from "./batch-norm.js";
import { channelStatistics, normalise } from "./batch-norm.js";
import type { BlockStep } from "./block.js";
import type { HeadSpec } from "./head.js";

/** [rows, width] a layer. */
export type LayerFeatures = Record<string, tf.Tensor2D>;

/** What a head reads of a batch in training. */
export interface TrainingInput {
  /** [seeds, batch, width + 1] */
  input: tf.Tensor3D;
  transposedProduct: BlockStep["transposedProduct"];
  /** Of the batch, where the input is normalised by them. */
  statistics?: ChannelStatistics;
}

/** What each head reads in training, made once for all its trials. */
export function trainingInputs(features: LayerFeatures, seeds: number): (head: HeadSpec) => TrainingInput {
  const made = new Map<string, TrainingInput>();
  return ({ layer, kind, shape }) => {
    const key = `${kind} ${layer}`;
    let entry = made.get(key);
    if (!entry) {
      const [rows, width] = features[layer]!.shape;
      const x = features[layer]!.reshape<tf.Tensor3D>([seeds, rows / seeds, width]);
      const statistics = kind === "bn_fc" ? channelStatistics(x, shape[0]!) : undefined;
      const input = withOnes(statistics ? normalise(x, statistics) : x);
      entry = { input, transposedProduct: transposedProductOf(input), statistics };
      made.set(key, entry);
    }
    return entry;
  };
}

/**
 * Native TensorFlow reads a transposed operand as fast as a plain one. WebAssembly's product is ten times slower with
 * one, so there the input is transposed first, once for all trials.
 */
function transposedProductOf(input: tf.Tensor3D): BlockStep["transposedProduct"] {
  if (tf.getBackend() === "tensorflow") return (error) => tf.matMul<tf.Tensor3D>(input, error, true);
  const transposed = tf.transpose(input, [0, 2, 1]);
  return (error) => tf.matMul<tf.Tensor3D>(transposed, error);
}

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
