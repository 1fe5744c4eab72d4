import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";

/** Rows that are scored at a time. */
const batch = 4096;

/** Linear classifiers, one a class: score = w·x + b. Holds plain arrays, so there is nothing to dispose of. */
export class LinearSvm {
  readonly classes: number;
  readonly width: number;
  /** [classes, width], row by row. */
  readonly weights: Float32Array;
  /** [classes] */
  readonly bias: Float32Array;

  /**
   * @param options.weights shape [classes, width], row by row.
   * @param options.bias shape [classes]; its length is the number of classes.
   * @throws UserError where the number of weights is no multiple of the number of classes.
   */
  constructor(options: { weights: Float32Array; bias: Float32Array }) {
    const { weights, bias } = options;
    const width = weights.length / bias.length;
    if (!Number.isInteger(width) || width === 0) {
      throw expected(`a multiple of ${bias.length} (classes)`, "the number of weights", weights.length);
    }
    this.classes = bias.length;
    this.width = width;
    this.weights = weights;
    this.bias = bias;
  }

  /**
   * How far each row lies on the positive side of each class.
   *
   * @param options.rows float32 features, prepared as for training, shape [n, width], row by row.
   * @returns w·x + b, shape [n, classes], row by row.
   * @throws UserError where the number of values is no multiple of the width.
   */
  async decisionFunction(options: { rows: Float32Array }): Promise<Float32Array> {
    const { rows } = options;
    const count = rows.length / this.width;
    if (!Number.isInteger(count)) {
      throw expected(`a multiple of ${this.width} (features of a row)`, "the number of values", rows.length);
    }
    const scores = new Float32Array(count * this.classes);
    const [transposed, bias] = tf.tidy(() => [
      tf.transpose(tf.tensor2d(this.weights, [this.classes, this.width])),
      tf.tensor1d(this.bias),
    ]);
    try {
      for (let begin = 0; begin < count; begin += batch) {
        const end = Math.min(count, begin + batch);
        const part = tf.tidy(() => {
          const input = tf.tensor2d(rows.subarray(begin * this.width, end * this.width), [end - begin, this.width]);
          return tf.add(tf.matMul(input, transposed), bias);
        });
        scores.set(await part.data(), begin * this.classes);
        part.dispose();
      }
    } finally {
      tf.dispose([transposed, bias]);
    }
    return scores;
  }
}
