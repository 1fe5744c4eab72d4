import * as tf from "@tensorflow/tfjs";

import type { Parameter } from "../../lib/optim/optimizer.js";
import { leastFactor } from "../../lib/optim/sgd.js";
import type { FirstOrderOptimizer } from "../../lib/optim/update.js";
import { createSlots, decayScale, gradientScale, update } from "../../lib/optim/update.js";
import { describeOnBackends } from "../backends.js";
import { golden } from "../golden.js";

/** Made by bench/peers/golden_optim.py: a softmax head trained by torch.optim and Apex's LARC, in double precision. */
interface Case {
  optimizer: FirstOrderOptimizer;
  lr: number;
  weightDecay: number;
  regularizeBias: boolean;
  /** Whether LARS gives biases a rate of their own norm. */
  bias: "plain" | "own norm";
  /** Whether the matrix starts at zero. */
  zero: boolean;
  matrix: number[];
}
const reference = golden<{
  steps: number;
  batch: number;
  classes: number;
  width: number;
  factors: number[];
  features: number[];
  labels: number[];
  initial: number[];
  cases: Case[];
}>("optim/updates.json");
const { batch, classes, width, factors } = reference;

type Trial = Pick<Case, "lr" | "weightDecay" | "zero"> & {
  /** The schedule's factor at a step; the reference's where undefined. */
  factors?: number[];
};

interface Training {
  optimizer: FirstOrderOptimizer;
  trials: Trial[];
  regularizeBias?: boolean;
  bias?: Case["bias"];
  steps?: number;
  /** η′/η as a tensor, though all trials share it. */
  apart?: boolean;
}

/** [1, width + 1, trials·classes] after the steps, one matrix a trial. */
function train({ optimizer, trials, regularizeBias = true, bias = "plain", steps = 50, apart }: Training): number[][] {
  const features = tf.tensor2d(reference.features, [reference.labels.length, width]);
  const oneHot = tf.tidy(() => tf.oneHot(tf.tensor1d(reference.labels, "int32"), classes));
  const start = trials.map(({ zero }) => reference.initial.map((w, i) => (zero && i < width * classes ? 0 : w)));
  const value = tf.tidy(() =>
    tf.concat(
      start.map((matrix) => tf.tensor3d(matrix, [1, width + 1, classes])),
      2,
    ),
  );
  const parameter: Parameter = { value, slots: createSlots(optimizer, value) };
  const spread = (perTrial: number[], withoutBias = false) => {
    const row = tf.tensor3d(
      perTrial.flatMap((one) => new Array<number>(classes).fill(one)),
      [1, 1, perTrial.length * classes],
    );
    return withoutBias ? tf.concat([tf.tile(row, [1, width, 1]), tf.zerosLike(row)], 1) : row;
  };
  const squaredNorm = (tensor: tf.Tensor) => {
    const byTrial = tf.square(tensor).reshape([width + 1, trials.length, classes]);
    const sums = (rows: tf.Tensor) => tf.sum(rows, [0, 2], true);
    const matrix = sums(byTrial.slice([0, 0, 0], [width, -1, -1]));
    const last = sums(byTrial.slice([width, 0, 0], [1, -1, -1]));
    const rows = [
      tf.tile(matrix, [width, 1, classes]),
      tf.tile(bias === "plain" ? tf.zerosLike(last) : last, [1, 1, classes]),
    ];
    return tf.concat(rows, 0).reshape(tensor.shape);
  };
  // LARS must see true zeros: weights of zero norm take another path than tiny ones.
  const least = optimizer.kind === "sgd" ? leastFactor : 0;
  const factorOf = ({ factors: own = factors }: Trial, step: number) => Math.max(own[step]!, least);
  for (let step = 0; step < steps; step++) {
    tf.tidy(() => {
      const first = (step % 3) * batch;
      const x = tf.concat([features.slice([first, 0], [batch, width]), tf.ones([batch, 1])], 1);
      const target = oneHot.slice([first, 0], [batch, classes]).reshape([batch, 1, classes]);
      const scores = tf.matMul(x, parameter.value.squeeze([0])).reshape([batch, trials.length, classes]);
      const lr = trials.map((trial) => trial.lr * factorOf(trial, step));
      const scale = lr.map((rate) => gradientScale(optimizer, rate) / batch);
      const error = tf.mul(tf.sub(tf.softmax(scores), target).reshape([1, batch, -1]), spread(scale));
      const gradient = tf.matMul(tf.transpose(x), error.squeeze([0])).expandDims(0);
      const decay = trials.map(({ weightDecay }, t) => decayScale(optimizer, lr[t]!, weightDecay));
      const changes = trials.map((trial) => (step === 0 ? 1 : factorOf(trial, step) / factorOf(trial, step - 1)));
      update({
        optimizer,
        parameter,
        gradient,
        lr: spread(lr),
        decay: decay.some((one) => one !== 0) ? spread(decay, !regularizeBias) : undefined,
        rateChange: apart || trials.some((trial) => trial.factors) ? spread(changes) : changes[0]!,
        step: step + 1,
        squaredNorm,
      });
    });
  }
  const matrices = tf.tidy(() =>
    trials.map((_, t) => parameter.value.slice([0, 0, t * classes], [1, -1, classes]).flatten()),
  );
  const result = matrices.map((matrix) => Array.from(matrix.dataSync()));
  tf.dispose([matrices, features, oneHot, parameter.value, parameter.slots]);
  return result;
}

function largestDifference(a: number[], b: number[]): number {
  return Math.max(...a.map((one, i) => Math.abs(one - b[i]!))) / Math.max(...b.map(Math.abs));
}

const optimizers: FirstOrderOptimizer[] = [
  { kind: "sgd", momentum: 0.9, nesterov: true },
  { kind: "sgd", momentum: 0.9, nesterov: false },
  { kind: "adam", beta1: 0.9, beta2: 0.99, epsilon: 1e-8 },
  { kind: "adamw", beta1: 0.9, beta2: 0.99, epsilon: 1e-8 },
  { kind: "lars", momentum: 0.9, nesterov: true, trust: 0.01, epsilon: 1e-8 },
];
const trial = (lr: number, weightDecay: number): Trial => ({ lr, weightDecay, zero: false });

describeOnBackends("steps of optimizers", () => {
  const groups = new Map<string, Case[]>();
  for (const one of reference.cases) {
    const key = JSON.stringify([one.optimizer, one.regularizeBias, one.bias]);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  test.each([...groups])("equal the original program's, %s", (_, cases) => {
    const { optimizer, regularizeBias, bias } = cases[0]!;
    const matrices = train({ optimizer, regularizeBias, bias, trials: cases });
    cases.forEach(({ matrix }, t) => expect(largestDifference(matrices[t]!, matrix)).toBeLessThan(2e-5));
  });

  test.each(optimizers)("a trial that diverges changes no bit of its neighbours, $kind", (optimizer) => {
    const calm = trial(0.1, 0.01);
    const steps = 8;
    const [before, , after] = train({ optimizer, steps, trials: [calm, trial(0.01, 0), calm] }) as [
      number[],
      number[],
      number[],
    ];
    const wild = train({ optimizer, steps, trials: [calm, trial(NaN, 1), calm] });
    expect(wild[1]!.some((weight) => !isFinite(weight))).toBe(true);
    expect(wild[0]).toEqual(before);
    expect(wild[2]).toEqual(after);
    expect(largestDifference(train({ optimizer, steps, trials: [calm] })[0]!, before)).toBeLessThan(1e-5);
  });

  test.each(optimizers)("trials with schedules of their own come out as alone, $kind", (optimizer) => {
    const falling = factors.map((_, step) => (step < 7 ? 1 : 0.1));
    const rising = factors.map((_, step) => step / 12);
    const own = [falling, rising].map((schedule) => ({ ...trial(0.1, 0.01), factors: schedule }));
    const steps = 12;
    const together = train({ optimizer, steps, trials: own });
    own.forEach((one, t) =>
      expect(largestDifference(train({ optimizer, steps, trials: [one] })[0]!, together[t]!)).toBeLessThan(1e-5),
    );
    const shared = [trial(0.1, 0.01)];
    expect(train({ optimizer, steps, trials: shared, apart: true })).toEqual(
      train({ optimizer, steps, trials: shared }),
    );
  });

  test.each(optimizers)("leave no tensor behind, $kind", (optimizer) => {
    const before = tf.memory().numTensors;
    train({ optimizer, trials: [trial(0.1, 0.01)], steps: 3 });
    expect(tf.memory().numTensors).toBe(before);
  });

  test.each([true, false])(
    "large tensors move by the same formula, and copies of them stay, Nesterov %s",
    (nesterov) => {
      const before = tf.memory().numTensors;
      const [rows, columns, momentum] = [200, 400, 0.9];
      const numbers = (seed: number) =>
        tf.tidy(() => tf.randomNormal([1, rows, columns], 0, 1, "float32", seed).dataSync() as Float32Array);
      const [start, first, second] = [numbers(1), numbers(2), numbers(3)] as [Float32Array, Float32Array, Float32Array];
      const optimizer: FirstOrderOptimizer = { kind: "sgd", momentum, nesterov };
      tf.tidy(() => {
        const value = tf.keep(tf.tensor3d(start, [1, rows, columns]));
        const copy = value.clone();
        const parameter: Parameter = { value, slots: createSlots(optimizer, value) };
        const decay = tf.fill([1, 1, columns], -0.01);
        const common = { optimizer, parameter, decay, lr: decay, squaredNorm: tf.square };
        const gradient = (data: Float32Array) => tf.tensor3d(data, [1, rows, columns]);
        update({ ...common, gradient: gradient(first), rateChange: 1, step: 1 });
        const between = parameter.value.clone();
        const valuesBetween = between.dataSync().slice();
        update({ ...common, gradient: gradient(second), rateChange: 0.5, step: 2 });
        let [largest, w0, p] = [0, 0, 0];
        const own = parameter.value.dataSync();
        for (let i = 0; i < start.length; i++) {
          [w0, p] = [start[i]!, 0];
          for (const [g, change] of [
            [first[i]!, 1],
            [second[i]!, 0.5],
          ] as const) {
            // prettier-ignore
            const q = g - 0.01 * w0;
            p = momentum * change * p + q;
            w0 += nesterov ? q + momentum * p : p;
          }
          largest = Math.max(largest, Math.abs(w0 - own[i]!));
        }
        expect(largest).toBeLessThan(1e-5);
        // Jest takes seconds to compare so many numbers one by one.
        expect(copy.dataSync().every((value, i) => value === start[i])).toBe(true);
        expect(between.dataSync().every((value, i) => value === valuesBetween[i])).toBe(true);
        tf.dispose([parameter.value, parameter.slots]);
      });
      expect(tf.memory().numTensors).toBe(before);
    },
  );

  test("the momentum outlives a rate of zero in the middle of training", () => {
    const optimizer: FirstOrderOptimizer = { kind: "sgd", momentum: 0.9, nesterov: true };
    const withZero = factors.map((factor, step) => (step === 10 ? 0 : 0.5 + 0.5 * factor));
    const almost = withZero.map((factor) => Math.max(factor, 1e-6));
    const [stopped, slow] = [withZero, almost].map(
      (schedule) => train({ optimizer, steps: 20, trials: [{ ...trial(0.1, 0.01), factors: schedule }] })[0]!,
    ) as [number[], number[]];
    expect(largestDifference(stopped, slow)).toBeLessThan(1e-5);
  });
});
