import * as tf from "@tensorflow/tfjs";

import { batchNormEpsilon, batchNormMomentum } from "./head.js";

/**
 * Batch norm over the channels of a pooled map that is stored flat, channel-major: [batch, C·H·W]. Its statistics
 * belong to the batch and are the same for every trial; only γ and β are a trial's own.
 */
export interface ChannelStatistics {
  /** Shape [C]. */
  mean: tf.Tensor;
  variance: tf.Tensor;
}

/** Mean and biased variance of each channel over batch and positions: what training normalises by. */
export function channelStatistics(x: tf.Tensor2D, channels: number): ChannelStatistics {
  return tf.tidy(() => {
    const [batch, width] = x.shape;
    const { mean, variance } = tf.moments(x.reshape([batch, channels, width / channels]), [0, 2]);
    return { mean, variance };
  });
}

/** (x − μ)/√(σ² + ε), channel by channel. */
export function normalise(x: tf.Tensor2D, { mean, variance }: ChannelStatistics): tf.Tensor2D {
  return tf.tidy(() => {
    const [batch, width] = x.shape;
    const channels = mean.shape[0]!;
    const byChannel = x.reshape([batch, channels, width / channels]);
    const scale = tf.rsqrt(tf.add(variance, batchNormEpsilon)).reshape([1, channels, 1]);
    return tf.mul(tf.sub(byChannel, mean.reshape([1, channels, 1])), scale).reshape([batch, width]);
  });
}

/**
 * Moves the running statistics towards a batch's, as PyTorch does: by a tenth, and with the unbiased variance.
 *
 * @param count numbers that each channel's statistics were made of (batch × positions).
 */
export function updateRunning(running: ChannelStatistics, batch: ChannelStatistics, count: number): void {
  const move = (from: tf.Tensor, to: tf.Tensor, correction: number): tf.Tensor => {
    const moved = tf.tidy(() =>
      tf.add(tf.mul(from, 1 - batchNormMomentum), tf.mul(to, batchNormMomentum * correction)),
    );
    from.dispose();
    return tf.keep(moved);
  };
  running.mean = move(running.mean, batch.mean, 1);
  running.variance = move(running.variance, batch.variance, count / Math.max(count - 1, 1));
}
