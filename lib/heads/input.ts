import * as tf from "@tensorflow/tfjs";

import { type ChannelStatistics, normalise, normaliseByBatch } from "./batch-norm.js";

/**
 * What a head does to the features before its first linear layer.
 *
 * - `raw`: nothing.
 * - `l2`: x / max(‖x‖, 1e-12), row by row (PyTorch's `normalize`).
 * - `batch_norm`: batch norm over the channels with γ and β (VISSL's `eval_mlp`). γ and β are trained with the first
 *   linear layer; here x is only normalised.
 * - `batch_norm_plain`: the same without γ and β.
 */
export type InputForm = "raw" | "l2" | "batch_norm" | "batch_norm_plain";

export interface HeadInputOptions {
  form: InputForm;
  /** Shape [seeds, batch, width], or [1, batch, width] where all seeds see the same. */
  x: tf.Tensor3D;
  /** Of the layer; x is channel-major, its width channels × positions. */
  channels: number;
  /** What batch norm goes by in evaluation; by the batch's own statistics where undefined. */
  running?: ChannelStatistics;
}

export interface HeadInput {
  /** Shape [seeds, batch, width]. */
  input: tf.Tensor3D;
  /** Of the batch, where the input was normalised by them: what running statistics are moved towards. */
  statistics?: ChannelStatistics;
}

/** The features as a head's first linear layer reads them, without the column of ones. */
export function headInput({ form, x, channels, running }: HeadInputOptions): HeadInput {
  switch (form) {
    case "raw":
      return { input: x };
    case "l2":
      return { input: l2Normalised(x) };
    case "batch_norm":
    case "batch_norm_plain":
      return running ? { input: normalise(x, running) } : normaliseByBatch(x, channels);
  }
}

/** Rows of length 1, and zero where a row is zero. */
function l2Normalised(x: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => tf.div(x, tf.maximum(tf.sqrt(tf.sum(tf.square(x), 2, true)), 1e-12)));
}
