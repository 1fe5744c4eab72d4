import * as tf from "@tensorflow/tfjs";

import { headInput, type InputForm } from "../../lib/heads/input.js";
import { describeOnBackends } from "../backends.js";
import { expectClose } from "./train-body.js";

describeOnBackends("forms of a head's input", () => {
  const x = () => tf.tensor3d([3, 4, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1], [1, 3, 4]);

  test("l2 gives every row length 1, and leaves a row of zeros", () => {
    tf.tidy(() => {
      const { input, statistics } = headInput({ form: "l2", x: x(), channels: 4 });
      expectClose(input.dataSync(), [0.6, 0.8, 0, 0, 0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5], 1e-6);
      expect(statistics).toBeUndefined();
    });
  });

  test("raw changes nothing", () => {
    tf.tidy(() => {
      expect([...headInput({ form: "raw", x: x(), channels: 4 }).input.dataSync()]).toEqual([...x().dataSync()]);
    });
  });

  test.each<InputForm>(["batch_norm", "batch_norm_plain"])(
    "%s goes by the batch in training and by what ran in evaluation, channel by channel",
    (form) => {
      tf.tidy(() => {
        const { input, statistics } = headInput({ form, x: x(), channels: 2 });
        // Channel 0: 3, 4, 0, 0, 1, 1; channel 1: 0, 0, 0, 0, 1, 1.
        expectClose(statistics!.mean.dataSync(), [1.5, 1 / 3], 1e-6);
        expectClose(statistics!.variance.dataSync(), [27 / 6 - 2.25, 1 / 3 - 1 / 9], 1e-6);
        expect(input.dataSync()[1]).toBeCloseTo(2.5 / Math.sqrt(2.25 + 1e-5), 5);
        const running = { mean: tf.tensor2d([[1, 2], [0, 0]]), variance: tf.tensor2d([[4, 9], [1, 1]]) }; // prettier-ignore
        const evaluated = headInput({ form, x: x(), channels: 2, running });
        expect(evaluated.statistics).toBeUndefined();
        expect(evaluated.input.shape).toEqual([2, 3, 4]);
        expectClose([...evaluated.input.dataSync()].slice(0, 4), [1, 1.5, -2 / 3, -2 / 3], 1e-5);
      });
    },
  );

  test("leave no tensor but what they give", () => {
    const before = tf.memory().numTensors;
    for (const form of ["raw", "l2", "batch_norm", "batch_norm_plain"] as const) {
      const features = x();
      const { input, statistics } = headInput({ form, x: features, channels: 2 });
      tf.dispose([features, input, ...(statistics ? [statistics.mean, statistics.variance] : [])]);
    }
    expect(tf.memory().numTensors).toBe(before);
  });
});
