import * as tf from "@tensorflow/tfjs";

/**
 * Softmax cross-entropy of many trials at once: the columns of `logits` are trials × classes, trial by trial.
 *
 * @param logits shape [batch, trials·classes].
 * @param oneHot shape [batch, 1, classes].
 * @param scale what each column's gradient is multiplied with; shape [1, trials·classes].
 * @returns the gradient with respect to the logits of each trial's mean over the batch, times `scale`; of the shape of
 * `logits`. A trial's columns depend on its own logits only, so one that diverges harms no other.
 */
export function crossEntropyGradient(logits: tf.Tensor2D, oneHot: tf.Tensor3D, scale: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => {
    const [batch, columns] = logits.shape;
    const classes = oneHot.shape[2];
    const probabilities = tf.softmax(logits.reshape([batch * (columns / classes), classes]));
    const error = tf.sub(probabilities.reshape([batch, columns / classes, classes]), oneHot);
    return tf.mul<tf.Tensor2D>(error.reshape([batch, columns]), scale);
  });
}

/**
 * The mean cross-entropy over the batch, a trial.
 *
 * @returns shape [trials]; not finite where a trial has diverged.
 */
export function crossEntropy(logits: tf.Tensor2D, oneHot: tf.Tensor3D): tf.Tensor1D {
  return tf.tidy(() => {
    const [batch, columns] = logits.shape;
    const classes = oneHot.shape[2];
    const byTrial = logits.reshape([batch, columns / classes, classes]);
    const logProbabilities = tf.logSoftmax(byTrial);
    return tf.neg(tf.mean(tf.sum(tf.mul(logProbabilities, oneHot), 2), 0)) as tf.Tensor1D;
  });
}
