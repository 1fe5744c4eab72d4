import * as tf from "@tensorflow/tfjs";

import { affineProduct } from "../../lib/heads/affine.js";
import { random } from "../../lib/random.js";
import { describeOnBackends } from "../backends.js";

function numbers(purpose: string, shape: number[]): tf.Tensor {
  const stream = random(0, purpose);
  return tf.tensor(Array.from({ length: shape.reduce((a, b) => a * b) }, () => stream.normal()), shape); // prettier-ignore
}

describeOnBackends("a batch norm's affine part", () => {
  test("gives the same in the batch (one trial) as in the matrix (two equal ones)", () => {
    tf.tidy(() => {
      const [seeds, batch, channels, positions, columns] = [2, 5, 3, 4, 8];
      const ones = tf.ones([seeds, batch, 1]);
      const x = tf.concat([numbers("x", [seeds, batch, channels * positions]), ones], 2) as tf.Tensor3D;
      const weight = numbers("weight", [seeds, channels * positions + 1, columns]) as tf.Tensor3D;
      const gamma = numbers("gamma", [seeds, channels, 1]);
      const beta = numbers("beta", [seeds, channels, 1]);
      const error = numbers("error", [seeds, batch, columns]) as tf.Tensor3D;
      const twice = <T extends tf.Tensor>(tensor: T) => tf.tile(tensor, [1, 1, 2]);
      const one = affineProduct({ weight, gamma, beta, trials: 1 }, x);
      const two = affineProduct({ weight: twice(weight), gamma: twice(gamma), beta: twice(beta), trials: 2 }, x);
      const same = (a: tf.Tensor, b: tf.Tensor) =>
        expect(tf.max(tf.abs(tf.sub(twice(a), b))).dataSync()[0]).toBeLessThan(1e-4);
      same(one.output, two.output);
      const [ofOne, ofTwo] = [one.backward(error), two.backward(twice(error))];
      for (const name of ["weight", "gamma", "beta"] as const) same(ofOne[name], ofTwo[name]);
    });
  });
});
