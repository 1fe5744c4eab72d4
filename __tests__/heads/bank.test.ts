import * as tf from "@tensorflow/tfjs";

import type { BankState, HeadBank, HeadBankOptions } from "../../lib/heads/bank.js";
import { createHeadBank } from "../../lib/heads/bank.js";
import type { Trial } from "../../lib/heads/block.js";
import { denseLayers } from "../../lib/heads/evaluated.js";
import type { HeadSpec, HeadWeights } from "../../lib/heads/head.js";
import { initialWeights, linearHead } from "../../lib/heads/head.js";
import type { Schedule } from "../../lib/optim/schedule.js";
import { describeOnBackends } from "../backends.js";
import { golden } from "../golden.js";

type HeadKind = "fc" | "bn_fc";

interface Training {
  shape: number[];
  classes: number;
  features: number[];
  labels: number[];
  order: number[][];
  initial: { weight: number[]; bias: number[] };
  cases: {
    kind: HeadKind;
    lr: number;
    weightDecay: number;
    momentum: number;
    nesterov: boolean;
    regularizeBias: boolean;
    schedule: "multistep" | "cosine";
    weight: number[];
    bias: number[];
    logits: number[];
    batchNorm?: Record<"gamma" | "beta" | "mean" | "variance", number[]>;
  }[];
}

const made = golden<Training>("heads/training.json");
const width = made.shape.reduce((a, b) => a * b);
const start = (head: HeadSpec): HeadWeights => ({
  ...initialWeights(head, made.classes, 0),
  weight: Float32Array.from(made.initial.weight),
  bias: Float32Array.from(made.initial.bias),
});
const rowsOf = (rows: number[]) =>
  tf.tensor2d(
    rows.flatMap((row) => made.features.slice(row * width, (row + 1) * width)),
    [rows.length, width],
  );

const schedules = {
  cosine: { kind: "cosine", per: "epoch" },
  multistep: { kind: "multistep", milestones: [40, 70], gamma: 0.1 },
} satisfies Record<string, Schedule>;

/** Trains on the golden batches, as PyTorch did. */
function train(bank: HeadBank, from = 0, to = made.order.length): void {
  for (let step = from; step < to; step++) {
    const features = { map: rowsOf(made.order[step]!) };
    const targets = made.order[step]!.map((row) => made.labels[row]!);
    bank.step({ features, targets, moment: { epoch: step, epochs: 100, step: 0, stepsPerEpoch: 1 } });
    tf.dispose(features);
  }
}

const heads = (["fc", "bn_fc"] as const).map((name) => linearHead({ layer: "map", shape: made.shape, name }));
const [fc, bnFc] = heads as [HeadSpec, HeadSpec];

function trial(setting: Partial<Trial>): Trial {
  const optimizer = { kind: "sgd", momentum: 0.9, nesterov: true } as const;
  return { lr: 0.1, weightDecay: 1e-3, optimizer, schedule: schedules.multistep, ...setting };
}

function bankOf(options: Partial<Omit<HeadBankOptions, "heads">> & { heads?: HeadSpec[]; trials?: Trial[] }): HeadBank {
  const { heads: specs = [fc], trials = [trial({})], ...rest } = options;
  return createHeadBank({
    heads: specs.map((spec) => ({ spec, trials })),
    classes: made.classes,
    loss: { kind: "cross_entropy", labelSmoothing: 0 },
    regularised: { bias: true, norm: false },
    seeds: [0],
    initial: start,
    ...rest,
  });
}

function expectClose(actual: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(wanted.length);
  const worst = Math.max(...Array.from(wanted, (value, i) => Math.abs(value - actual[i]!)));
  expect(worst).toBeLessThan(tolerance);
}

describeOnBackends("head bank", () => {
  const settings = [
    { nesterov: true, regularizeBias: true, schedule: "multistep" as const },
    { nesterov: false, regularizeBias: false, schedule: "cosine" as const },
  ];

  for (const setting of settings) {
    test(`equals PyTorch after 100 steps, ${setting.schedule}, Nesterov ${setting.nesterov}`, async () => {
      const cases = made.cases.filter((one) => one.schedule === setting.schedule);
      const trials = cases
        .filter(({ kind }) => kind === "fc")
        .map(({ lr, weightDecay }) =>
          trial({
            lr,
            weightDecay,
            optimizer: { kind: "sgd", momentum: 0.9, nesterov: setting.nesterov },
            schedule: schedules[setting.schedule],
          }),
        );
      const bank = bankOf({ heads, trials, regularised: { bias: setting.regularizeBias, norm: false } });
      train(bank);
      const x = rowsOf([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
      const logits = await bank.logits({ features: { map: x } });
      for (const [h, { name }] of heads.entries()) {
        for (const [t, { lr }] of trials.entries()) {
          const wanted = cases.find((one) => one.kind === name && one.lr === lr)!;
          const weights = await bank.weights({ seed: 0, head: h, trial: t });
          expectClose(weights.weight, wanted.weight, 1e-4);
          expectClose(weights.bias, wanted.bias, 1e-4);
          expectClose(logits[0]![h]![t]!, wanted.logits, 1e-4);
          for (const key of ["gamma", "beta", "mean", "variance"] as const) {
            if (wanted.batchNorm) expectClose(weights.batchNorm![key], wanted.batchNorm[key], 1e-4);
          }
        }
      }
      x.dispose();
      bank.dispose();
    });
  }

  test("a trial in a bank, alone, or in another block comes out the same", async () => {
    const trials = [0.3, 0.1, 0.03, 0.01, 0.003].map((lr) => trial({ lr, weightDecay: lr / 50 }));
    const together = bankOf({ heads, trials });
    const inPieces = bankOf({ heads, trials, blockBytes: 2 * 4 * width * made.classes });
    const alone = bankOf({ heads, trials: [trials[3]!] });
    for (const bank of [together, inPieces, alone]) train(bank);
    for (const h of [0, 1]) {
      const wanted = (await alone.weights({ seed: 0, head: h, trial: 0 })).weight;
      expectClose((await together.weights({ seed: 0, head: h, trial: 3 })).weight, wanted, 1e-5);
      expectClose((await inPieces.weights({ seed: 0, head: h, trial: 3 })).weight, wanted, 1e-5);
    }
    [together, inPieces, alone].forEach((bank) => bank.dispose());
  });

  test("a seed among others comes out as alone, with its own start and its own batches", async () => {
    const initial = (head: HeadSpec, seed: number) =>
      seed === 0 ? start(head) : initialWeights(head, made.classes, seed);
    const both = bankOf({ heads, seeds: [0, 7], initial });
    const alone = bankOf({ heads, seeds: [7], initial });
    const moment = { epoch: 0, epochs: 100, step: 0, stepsPerEpoch: 1 };
    for (let step = 0; step < 30; step++) {
      const [first, second] = [made.order[step]!, made.order[99 - step]!];
      const labelled = (rows: number[]) => Int32Array.from(rows, (row) => made.labels[row]!);
      const x = rowsOf([...first, ...second]);
      const own = rowsOf(second);
      both.step({ features: { map: x }, targets: labelled([...first, ...second]), moment });
      alone.step({ features: { map: own }, targets: labelled(second), moment });
      tf.dispose([x, own]);
    }
    for (const head of [0, 1]) {
      const wanted = await alone.weights({ seed: 0, head, trial: 0 });
      const found = await both.weights({ seed: 1, head, trial: 0 });
      expectClose(found.weight, wanted.weight, 1e-5);
      expectClose(found.bias, wanted.bias, 1e-5);
      for (const key of ["gamma", "beta", "mean", "variance"] as const) {
        if (wanted.batchNorm) expectClose(found.batchNorm![key], wanted.batchNorm[key], 1e-5);
      }
    }
    both.dispose();
    alone.dispose();
  });

  test("a trial that diverges is frozen and marked, and the others do not notice", async () => {
    const bank = bankOf({
      heads,
      trials: [trial({ lr: 0.01, weightDecay: 0 }), trial({ lr: 1e30, weightDecay: 1 })],
    });
    const alone = bankOf({ heads, trials: [trial({ lr: 0.01, weightDecay: 0 })] });
    train(bank, 0, 20);
    train(alone, 0, 20);
    const features = { map: rowsOf([0, 1, 2, 3]) };
    const losses = () => bank.losses({ features, targets: [0, 1, 2, 0] });
    expect(bank.freeze(await losses())).toEqual([
      { seed: 0, head: 0, trial: 1 },
      { seed: 0, head: 1, trial: 1 },
    ]);
    expect(bank.freeze(await losses())).toEqual([]);
    tf.dispose(features);
    expect(bank.diverged).toEqual([
      [
        [false, true],
        [false, true],
      ],
    ]);
    expect((await bank.weights({ seed: 0, head: 0, trial: 1 })).weight.every((w) => w === 0)).toBe(true);
    for (const head of [0, 1]) {
      const wanted = (await alone.weights({ seed: 0, head, trial: 0 })).weight;
      expectClose((await bank.weights({ seed: 0, head, trial: 0 })).weight, wanted, 1e-6);
    }
    bank.dispose();
    alone.dispose();
  });

  test("goes on from a saved state as if it had not stopped, to the bit", async () => {
    const whole = bankOf({ heads });
    train(whole, 0, 60);
    const first = bankOf({ heads });
    train(first, 0, 31);
    const saved = JSON.parse(
      JSON.stringify(await first.state(), (_, v: unknown) => (v instanceof Float32Array ? [...v] : v)),
    ) as BankState;
    const second = bankOf({ heads });
    second.restore(saved);
    train(second, 31, 60);
    for (const head of [0, 1]) {
      const place = { seed: 0, head, trial: 0 };
      expect(await second.weights(place)).toEqual(await whole.weights(place));
    }
    [whole, first, second].forEach((bank) => bank.dispose());
  });

  test("folding batch norm into the matrix changes no score", async () => {
    const bank = bankOf({ heads: [bnFc] });
    train(bank, 0, 30);
    const x = rowsOf([3, 50, 90]);
    const [folded] = denseLayers(await bank.weights({ seed: 0, head: 0, trial: 0 }), []);
    const byHand = tf.tidy(() => x.matMul(tf.tensor2d(folded!.weight, [width, made.classes])).add(folded!.bias));
    expectClose((await bank.logits({ features: { map: x } }))[0]![0]![0]!, await byHand.data(), 1e-5);
    tf.dispose([x, byHand]);
    bank.dispose();
  });

  test("leaves no tensor behind", async () => {
    const before = tf.memory().numTensors;
    const bank = bankOf({ heads });
    train(bank, 0, 3);
    const held = tf.memory().numTensors;
    train(bank, 3, 8);
    const x = rowsOf([0, 1]);
    await bank.logits({ features: { map: x } });
    bank.freeze(await bank.losses({ features: { map: x }, targets: new Int32Array(2) }));
    bank.restore(await bank.state());
    train(bank, 8, 9);
    x.dispose();
    expect(tf.memory().numTensors).toBe(held);
    bank.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe("heads", () => {
  test("start as PyTorch's Linear does: uniform within 1/√width, equal for equal shapes under one seed", () => {
    const { weight, bias } = initialWeights(linearHead({ layer: "a", shape: [100], name: "fc" }), 50, 1);
    expect(Math.max(...weight, ...bias)).toBeLessThan(0.1);
    expect(Math.min(...weight)).toBeLessThan(-0.099);
    const mean = weight.reduce((a, b) => a + b) / weight.length;
    expect(Math.abs(mean)).toBeLessThan(0.003);
    expect(initialWeights(linearHead({ layer: "b", shape: [25, 2, 2], name: "fc" }), 50, 1).weight).toEqual(weight);
    expect(initialWeights(linearHead({ layer: "a", shape: [100], name: "fc" }), 50, 2).weight).not.toEqual(weight);
  });

  test("a bank says what it cannot train", () => {
    expect(() => bankOf({ trials: [trial({ lr: 0, weightDecay: 0 })] })).toThrow(
      "Expected a number above 0 for the learning rate but received 0",
    );
    expect(() => bankOf({ classes: 0 })).toThrow("Expected at least one class");
    expect(() => bankOf({ heads: [] })).toThrow("Expected at least one head");
  });
});
