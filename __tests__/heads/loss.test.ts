import * as tf from "@tensorflow/tfjs";
import fc from "fast-check";

import { crossEntropy, crossEntropyGradient } from "../../lib/heads/cross-entropy.js";
import { type Loss, lossError, lossTargets, lossValue } from "../../lib/heads/loss.js";
import { oneHotOf } from "../../lib/heads/training-input.js";
import { random } from "../../lib/random.js";
import { describeOnBackends } from "../backends.js";
import { expectClose } from "./train-body.js";

const plain: Loss = { kind: "cross_entropy", labelSmoothing: 0 };
const losses: Loss[] = [
  plain,
  { kind: "cross_entropy", labelSmoothing: 0.2 },
  { kind: "soft_cross_entropy" },
  { kind: "binary_cross_entropy" },
];
const [seeds, batch, trials, classes] = [2, 5, 3, 4];

function someLogits(seed: number): tf.Tensor3D {
  const stream = random(seed, "logits");
  return tf.tensor3d(
    Float32Array.from({ length: seeds * batch * trials * classes }, () => 3 * stream.normal()),
    [seeds, batch, trials * classes],
  );
}

function someTargets(loss: Loss, seed: number): number[] {
  const stream = random(seed, "targets");
  const rows = seeds * batch;
  switch (loss.kind) {
    case "cross_entropy":
      return Array.from({ length: rows }, () => stream.integer(classes + 1) - 1);
    case "soft_cross_entropy":
      return Array.from({ length: rows * classes }, () => stream.uniform());
    case "binary_cross_entropy":
      return Array.from({ length: rows * classes }, () => stream.integer(3) - 1);
  }
}

describeOnBackends("losses", () => {
  test("have the gradient that differences of their values tell", () => {
    fc.assert(
      fc.property(fc.constantFrom(...losses), fc.nat(1000), (loss, seed) => {
        tf.tidy(() => {
          const targets = lossTargets({ loss, targets: someTargets(loss, seed), seeds, classes });
          const logits = someLogits(seed);
          const direction = tf.tidy(() => tf.sin(tf.mul(logits, 100)).reshape(logits.shape));
          const moved = (by: number) => lossValue(tf.add(logits, tf.mul(direction, by)), targets);
          const slope = tf.div(tf.sub(moved(0.02), moved(-0.02)), 0.04);
          const along = tf.mul(lossError(logits, targets), direction).reshape([seeds, batch, trials, classes]);
          const wanted = tf.div(tf.sum(along, [1, 3]), tf.tensor2d(targets.divisors, [seeds, 1]));
          expectClose(slope.dataSync(), wanted.dataSync(), 2e-3);
        });
      }),
      { numRuns: 30 },
    );
  });

  test("plain cross-entropy is what it was", () => {
    tf.tidy(() => {
      const labels = Int32Array.from({ length: seeds * batch }, (_, i) => i % classes);
      const targets = lossTargets({ loss: plain, targets: labels, seeds, classes });
      const logits = someLogits(1);
      expect(targets.weight).toBeUndefined();
      expect(targets.divisors).toEqual([batch, batch]);
      const [oneHot, one] = [oneHotOf(labels, classes), tf.ones<tf.Rank.R3>([1, 1, 1])];
      const wanted = crossEntropyGradient(logits, oneHot, one).dataSync();
      expectClose(lossError(logits, targets).dataSync(), wanted, 1e-6);
      expectClose(lossValue(logits, targets).dataSync(), crossEntropy(logits, oneHot).dataSync(), 1e-6);
    });
  });

  test("what is ignored counts nowhere, for each seed by itself", () => {
    tf.tidy(() => {
      const labels = [0, 1, 2, 3, 0, -1, 1, -1, -1, 2];
      const targets = lossTargets({ loss: plain, targets: labels, seeds, classes });
      expect(targets.divisors).toEqual([5, 2]);
      const logits = someLogits(2);
      const error = lossError(logits, targets).arraySync();
      [0, 2, 3].forEach((row) => expect(error[1]![row]!.every((e) => e === 0)).toBe(true));
      expect(error[1]![1]!.every((e) => e !== 0)).toBe(true);
      const two = tf.concat([logits.slice([1, 1, 0], [1, 1, -1]), logits.slice([1, 4, 0], [1, 1, -1])], 1);
      const alone = lossTargets({ loss: plain, targets: [1, 2], seeds: 1, classes });
      expectClose(lossValue(logits, targets).arraySync()[1]!, lossValue(two, alone).dataSync(), 1e-5);
    });
  });

  test("a batch of which nothing is known has no loss and moves nothing", () => {
    for (const loss of [plain, losses[3]!]) {
      tf.tidy(() => {
        const none = new Array<number>(seeds * batch * (loss === plain ? 1 : classes)).fill(-1);
        const targets = lossTargets({ loss, targets: none, seeds, classes });
        expect(targets.divisors.every((divisor) => divisor >= 1)).toBe(true);
        expectClose(lossValue(someLogits(3), targets).dataSync(), new Float32Array(seeds * trials), 1e-30);
        expectClose(lossError(someLogits(3), targets).dataSync(), new Float32Array(120), 1e-30);
      });
    }
  });

  test("stay finite for large logits, and a diverged trial harms no other", () => {
    for (const loss of losses) {
      tf.tidy(() => {
        const targets = lossTargets({ loss, targets: someTargets(loss, 4), seeds, classes });
        const scale = tf.tile(tf.tensor3d([1, 3e3, NaN], [1, 3, 1]), [1, 1, classes]).reshape([1, 1, trials * classes]);
        const values = lossValue(tf.mul<tf.Tensor3D>(someLogits(4), scale), targets).arraySync();
        const alone = lossValue(someLogits(4), targets).arraySync();
        values.forEach((ofSeed, s) => {
          expect(ofSeed[0]).toBeCloseTo(alone[s]![0]!, 5);
          expect(Number.isFinite(ofSeed[1])).toBe(true);
          expect(ofSeed[2]).toBeNaN();
        });
      });
    }
  });

  test("leave no tensor but the targets", () => {
    const before = tf.memory().numTensors;
    for (const loss of losses) {
      const { target, weight, ...rest } = lossTargets({ loss, targets: someTargets(loss, 5), seeds, classes });
      const logits = someLogits(5);
      tf.dispose([lossError(logits, { target, weight, ...rest }), lossValue(logits, { target, weight, ...rest })]);
      tf.dispose([logits, target, ...(weight ? [weight] : [])]);
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  test("say which target they cannot read", () => {
    const made = (loss: Loss, targets: number[]) => () => lossTargets({ loss, targets, seeds: 1, classes });
    expect(made(plain, [0, 4])).toThrow("Expected a class in 0 … 3, or -1 for a label but received 4");
    expect(made(plain, [1.5])).toThrow("Expected a class in 0 … 3, or -1 for a label but received 1.5");
    expect(made(losses[3]!, [0, 1, 2, 0])).toThrow("Expected 1, 0 or -1 for a multi-label target but received 2");
    expect(made(losses[3]!, [0, 1, 0])).toThrow("Expected rows of 4 numbers for the targets but received 3");
  });
});
