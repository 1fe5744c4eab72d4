import * as tf from "@tensorflow/tfjs";

import { UserError } from "../../lib/errors.js";
import { LinearSvm } from "../../lib/svm/linear-svm.js";
import { describeOnBackends } from "../backends.js";

describeOnBackends("LinearSvm", () => {
  const svm = new LinearSvm({ weights: Float32Array.of(1, 2, 3, -1, 0, 0.5), bias: Float32Array.of(0.5, -1) });

  test("scores rows, and leaves no tensors", async () => {
    const before = tf.memory().numTensors;
    const scores = await svm.decisionFunction({ rows: Float32Array.of(1, 0, 0, 1, 1, 2) });
    expect([...scores]).toEqual([1.5, -2, 9.5, -1]);
    expect(tf.memory().numTensors).toBe(before);
  });

  test("more rows than one batch are scored as each alone", async () => {
    const rows = Float32Array.from({ length: 3 * 5000 }, (_, i) => (i % 7) - 3);
    const scores = await svm.decisionFunction({ rows });
    const last = await svm.decisionFunction({ rows: rows.subarray(3 * 4999) });
    expect([...scores.subarray(2 * 4999)]).toEqual([...last]);
  });

  test("says what does not fit", async () => {
    expect(() => new LinearSvm({ weights: new Float32Array(5), bias: new Float32Array(2) })).toThrow(UserError);
    await expect(svm.decisionFunction({ rows: new Float32Array(4) })).rejects.toThrow(
      "Expected a multiple of 3 (features of a row) for the number of values but received 4",
    );
  });
});
