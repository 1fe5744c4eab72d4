import * as tf from "@tensorflow/tfjs";

import { random } from "../lib/random.js";

/** Made features of images in many classes that overlap. */
export interface ClassFeatures {
  /** Shape [n, width], row by row: never below zero, of unit length, as CoG normalises them. */
  features: Float32Array;
  labels: Int32Array;
}

/**
 * Features as behind a ReLU: classes are directions among causes whose scales fall as a power of their number; images
 * lie around their class with `noise` times its spread. A noise of 4 leaves logistic regression about half right.
 *
 * @param options.part of which images are drawn: parts share their classes.
 */
export async function classFeatures(options: {
  count: number;
  width: number;
  classes: number;
  part: string;
  noise?: number;
}): Promise<ClassFeatures> {
  const { count, width, classes, part, noise = 4 } = options;
  const drawn = (purpose: string, rows: number) => {
    const stream = random(7, purpose);
    return tf.tensor2d(Float32Array.from({ length: rows * width }, () => stream.normal()), [rows, width]); // prettier-ignore
  };
  const chosen = random(7, "labels", part);
  const labels = Int32Array.from({ length: count }, (_, i) => (i < classes ? i : chosen.integer(classes)));
  const [means, mixture] = tf.tidy(() => {
    const scales = tf.pow<tf.Tensor1D>(tf.range(1, width + 1), -0.5);
    return [
      tf.mul<tf.Tensor2D>(drawn("means", classes), scales),
      tf.div<tf.Tensor2D>(drawn("mixture", width), Math.sqrt(width)),
    ];
  });
  const features = new Float32Array(count * width);
  const block = 4096;
  for (let begin = 0; begin < count; begin += block) {
    const own = labels.subarray(begin, begin + block);
    const values = tf.tidy(() => {
      const scales = tf.pow(tf.range(1, width + 1), -0.5);
      const around = tf.mul(drawn(`${part} ${begin}`, own.length), tf.mul(scales, noise));
      const causes = tf.add<tf.Tensor2D>(tf.gather(means, tf.tensor1d(own, "int32")), around);
      const raw = tf.relu(tf.add(tf.matMul(causes, mixture), 0.3));
      return tf.div(raw, tf.maximum(tf.norm(raw, 2, 1, true), 1e-12));
    });
    features.set(await values.data(), begin * width);
    values.dispose();
  }
  tf.dispose([means, mixture]);
  return { features, labels };
}
