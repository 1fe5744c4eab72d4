import * as tf from "@tensorflow/tfjs";

import { batchNormEpsilon, batchNormMomentum } from "./head.js";

/**
 * Batch norm over the channels of a pooled map that is stored flat, channel-major: [seeds, batch, C·H·W]. Its
 * statistics belong to a seed's batch and are the same for every trial; only γ and β are a trial's own.
 */
export interface ChannelStatistics {
  /** Shape [seeds, C]. */
  mean: tf.Tensor;
  variance: tf.Tensor;
}

/** x normalised by its own statistics: mean and biased variance of each channel over batch and positions. */
export function normaliseByBatch(
  x: tf.Tensor3D,
  channels: number,
): { input: tf.Tensor3D; statistics: ChannelStatistics } {
  return tf.tidy(() => {
    const [seeds, batch, width] = x.shape;
    const share = tf.fill<tf.Rank.R3>([seeds, 1, batch], 1 / batch);
    // First over the batch, then over the few numbers of a channel: both at once is many times slower. Over the batch
    // it is a product, which is a few times as fast as a sum along that axis.
    const meanOf = (values: tf.Tensor3D) =>
      tf.mean(tf.matMul(share, values).reshape([seeds, channels, width / channels]), 2);
    const mean = meanOf(x);
    const centred = tf.sub<tf.Tensor3D>(x, toEachNumber(mean, width));
    const variance = tf.tidy(() => meanOf(tf.square(centred)));
    return { input: scaled(centred, variance), statistics: { mean, variance } };
  });
}

/**
 * (x − μ)/√(σ² + ε), channel by channel.
 *
 * @param x shape [seeds, batch, width], or [1, batch, width] where all seeds see the same.
 * @returns shape [seeds, batch, width].
 */
export function normalise(x: tf.Tensor3D, { mean, variance }: ChannelStatistics): tf.Tensor3D {
  return tf.tidy(() => {
    return scaled(tf.sub(x, toEachNumber(mean, x.shape[2])), variance);
  });
}

function scaled(centred: tf.Tensor3D, variance: tf.Tensor): tf.Tensor3D {
  return tf.mul(centred, toEachNumber(tf.rsqrt(tf.add(variance, batchNormEpsilon)), centred.shape[2]));
}

/** [seeds, C] → [seeds, 1, C·positions], channel-major. */
function toEachNumber(ofChannel: tf.Tensor, width: number): tf.Tensor3D {
  const [seeds, channels] = ofChannel.shape as [number, number];
  const repeated = tf.tile(ofChannel.reshape([seeds, channels, 1]), [1, 1, width / channels]);
  return repeated.reshape([seeds, 1, width]);
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
