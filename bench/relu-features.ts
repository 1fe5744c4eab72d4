import * as tf from "@tensorflow/tfjs";

import { random } from "../lib/random.js";

/** Made features and labels of the size of VOC07's. */
export interface ReluFeatures {
  count: number;
  width: number;
  classes: number;
  /** [count, width], never below zero; rows of unit length, as VISSL normalises them. */
  features: Float32Array;
  /** [count, classes]: 1 or −1. */
  targets: Int8Array;
}

/** Causes that images have in common. */
const causes = 1024;

/**
 * Features as behind a ReLU: a mean that outweighs all else, and a spectrum that falls fast (the second eigenvalue of
 * the Gram matrix is some thirtieth of the first, as in a ResNet-50's). A label is whether a mixture of the causes is
 * among its highest; 3 to 12 in a hundred images have it, and every twentieth class 40.
 */
export async function reluFeatures(options: { count: number; width: number; classes: number }): Promise<ReluFeatures> {
  const { count, width, classes } = options;
  const drawn = (purpose: string, rows: number, columns: number, scale: (column: number) => number) => {
    const stream = random(7, purpose);
    return tf.tensor2d(
      Float32Array.from({ length: rows * columns }, (_, i) => scale(i % columns) * stream.normal()),
      [rows, columns],
    );
  };
  const present = drawn("causes", count, causes, (j) => (j + 1) ** -0.55);
  const mixtures = drawn("classes", causes, classes, () => 1);
  const values = tf.tidy(() => {
    const seen = tf.matMul(
      present,
      tf.mul(
        drawn("features", causes, width, () => 1),
        0.35,
      ),
    );
    const raw = tf.relu(
      tf.add(
        tf.add(seen, 0.3),
        drawn("noise", count, width, () => 0.1),
      ),
    );
    return tf.div(raw, tf.add(tf.norm(raw, 2, 1, true), 1e-5));
  });
  const likeness = tf.tidy(() =>
    tf.add(
      tf.matMul(present, mixtures),
      drawn("labels", count, classes, () => 1),
    ),
  );
  const features = (await values.data()) as Float32Array;
  const scores = await likeness.data();
  tf.dispose([present, mixtures, values, likeness]);
  const targets = new Int8Array(count * classes).fill(-1);
  for (let c = 0; c < classes; c++) {
    const share = c % 20 === 14 ? 0.4 : 0.03 + 0.09 * (c / classes);
    const order = Array.from({ length: count }, (_, i) => i).sort(
      (a, b) => scores[b * classes + c]! - scores[a * classes + c]!,
    );
    for (const image of order.slice(0, Math.round(share * count))) targets[image * classes + c] = 1;
  }
  return { count, width, classes, features, targets };
}
