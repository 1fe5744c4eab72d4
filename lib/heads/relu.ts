import * as tf from "@tensorflow/tfjs";

import type { Layer } from "./layer.js";

/** max(x, 0), of any shape; at 0 its derivative is 0, as in PyTorch. */
export function relu(): Layer {
  return {
    parameters: [],
    forward: (x) => {
      const output = tf.relu(x);
      return {
        output,
        backward: (error) => ({
          error: tf.mul<tf.Tensor3D>(error, tf.cast(tf.greater(output, 0), "float32")),
          parameters: [],
        }),
      };
    },
  };
}
