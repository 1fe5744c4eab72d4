import * as tf from "@tensorflow/tfjs";

import { updateRunning } from "./batch-norm.js";
import { batchNormEpsilon } from "./head.js";
import type { Layer } from "./layer.js";
import type { TrialParameter } from "./trial-parameter.js";

/** Where the running statistics lie among the body's buffers; shape [seeds·trials, 1, width] each. */
export interface RunningBuffers {
  buffers: Record<string, tf.Tensor>;
  mean: string;
  variance: string;
}

/**
 * PyTorch's BatchNorm1d on [seeds·trials, batch, width]: behind a trained layer the statistics are each trial's own.
 *
 * @param gamma and β: `stacked` as [seeds·trials, 1, width].
 */
export function trialBatchNorm(gamma: TrialParameter, beta: TrialParameter, running: RunningBuffers): Layer {
  return {
    parameters: [gamma, beta],
    forward: (x, { training }) => {
      const mean = training ? tf.mean<tf.Tensor3D>(x, 1, true) : running.buffers[running.mean]!;
      const centred = tf.sub<tf.Tensor3D>(x, mean);
      const variance = training ? tf.mean(tf.square(centred), 1, true) : running.buffers[running.variance]!;
      if (training) moveRunning(running, { mean, variance }, x.shape[1]);
      const scale = tf.rsqrt(tf.add(variance, batchNormEpsilon));
      const normalised = tf.mul<tf.Tensor3D>(centred, scale);
      const { value } = gamma.parameter;
      return {
        output: tf.add(tf.mul(normalised, value), beta.parameter.value),
        backward: (error) => {
          const ofGamma = tf.sum(tf.mul(error, normalised), 1, true);
          const ofBeta = tf.sum(error, 1, true);
          const batch = x.shape[1];
          // Batch statistics are functions of x too; running ones are not.
          const ofNormalised = training
            ? tf.sub(tf.sub(error, tf.div(ofBeta, batch)), tf.mul(normalised, tf.div(ofGamma, batch)))
            : error;
          return { error: tf.mul<tf.Tensor3D>(ofNormalised, tf.mul(value, scale)), parameters: [ofGamma, ofBeta] };
        },
      };
    },
  };
}

function moveRunning(
  { buffers, mean, variance }: RunningBuffers,
  statistics: { mean: tf.Tensor; variance: tf.Tensor },
  batch: number,
): void {
  const running = { mean: buffers[mean]!, variance: buffers[variance]! };
  updateRunning(running, statistics, batch);
  buffers[mean] = running.mean;
  buffers[variance] = running.variance;
}
