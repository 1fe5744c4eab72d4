import * as tf from "@tensorflow/tfjs";

/**
 * Softmax cross-entropy of many trials at once: the columns of `logits` are trials × classes, trial by trial.
 *
 * @param logits shape [seeds, batch, trials·classes].
 * @param oneHot shape [seeds·batch, 1, classes].
 * @param scale what each column's gradient is multiplied with; shape [1, 1, trials·classes].
 * @returns the gradient with respect to the logits of each trial's sum over the batch, times `scale`; of the shape of
 * `logits`. A trial's columns depend on its own logits only, so one that diverges harms no other.
 */
export function crossEntropyGradient(logits: tf.Tensor3D, oneHot: tf.Tensor3D, scale: tf.Tensor3D): tf.Tensor3D {
  return tf.tidy(() => {
    const [rows, , classes] = oneHot.shape;
    const trials = logits.shape[2] / classes;
    const error = tf.sub(tf.softmax(logits.reshape([rows, trials, classes])), oneHot);
    return tf.mul<tf.Tensor3D>(error.reshape(logits.shape), scale);
  });
}

/**
 * The mean cross-entropy over the batch.
 *
 * @returns shape [seeds, trials]; not finite where a trial has diverged.
 */
export function crossEntropy(logits: tf.Tensor3D, oneHot: tf.Tensor3D): tf.Tensor2D {
  return tf.tidy(() => {
    const [seeds, batch] = logits.shape;
    const [rows, , classes] = oneHot.shape;
    const trials = logits.shape[2] / classes;
    const logProbabilities = tf.logSoftmax(logits.reshape([rows, trials, classes]));
    const ofTruth = tf.sum(tf.mul(logProbabilities, oneHot), 2).reshape([seeds, batch, trials]);
    return tf.neg(tf.mean(ofTruth, 1)) as tf.Tensor2D;
  });
}
