import * as tf from "@tensorflow/tfjs";

import { UnsupportedGraph } from "../../lib/backend/graph-def.js";
import type { HeadBank, HeadBankOptions } from "../../lib/heads/bank.js";
import { createHeadBank } from "../../lib/heads/bank.js";
import type { Trial } from "../../lib/heads/block.js";
import type { HeadSpec, HiddenLayer } from "../../lib/heads/head.js";
import { initialWeights, linearHead } from "../../lib/heads/head.js";
import { random } from "../../lib/random.js";
import { recordSteps } from "../../lib/training/record-steps.js";
import { describeOnBackends, describeOnNative } from "../backends.js";

const classes = 5;
const widths = { map: 12, cls: 6 };
const batch = 16;
const steps = 12;

const trial = (setting: Partial<Trial> = {}): Trial => ({
  lr: 0.05,
  weightDecay: 1e-2,
  optimizer: { kind: "sgd", momentum: 0.9, nesterov: true },
  schedule: { kind: "constant" },
  ...setting,
});
const trials = [trial(), trial({ lr: 0.1, weightDecay: 0 }), trial({ lr: 0.02, weightDecay: 0.1 })];
const fc = linearHead({ layer: "map", shape: [4, 3, 1], name: "fc" });
const bnFc = linearHead({ layer: "map", shape: [4, 3, 1], name: "bn_fc" });
const hidden: HiddenLayer = { width: 7, batchNorm: true, relu: true, dropout: 0 };

function bankOf(options: Partial<HeadBankOptions> & { specs?: HeadSpec[]; tried?: Trial[] } = {}): HeadBank {
  const { specs = [fc], tried = trials, ...rest } = options;
  return createHeadBank({
    heads: specs.map((spec) => ({ spec, trials: tried })),
    classes,
    loss: { kind: "cross_entropy", labelSmoothing: 0 },
    regularised: { bias: false, norm: true },
    seeds: [0],
    initial: (head, seed) => initialWeights(head, classes, seed),
    ...rest,
  });
}

/** Trains on made batches, the last of an epoch smaller; all seeds have the same. */
function train(
  bank: HeadBank,
  options: { from?: number; to?: number; targets?: (rows: number) => number[] } = {},
): void {
  const { from = 0, to = steps, targets } = options;
  for (let step = from; step < to; step++) {
    const rows = (step % 4 === 3 ? 9 : batch) * bank.seeds.length;
    const drawn = random(step, "batch");
    const labels = Array.from({ length: rows }, () => drawn.integer(classes));
    const features = Object.fromEntries(
      Object.entries(widths).map(([name, width]) => {
        const values = labels.flatMap((label) => Array.from({ length: width }, (_, i) => drawn.normal() + (i % classes === label ? 1 : 0))); // prettier-ignore
        return [name, tf.tensor2d(values, [rows, width])];
      }),
    );
    const moment = { epoch: Math.floor(step / 4), epochs: 3, step: step % 4, stepsPerEpoch: 4 };
    bank.step({ features, targets: targets?.(rows) ?? labels, moment });
    tf.dispose(features);
  }
}

const compile = (bank: HeadBank, weighted = false) =>
  bank.compile({ record: recordSteps, widths, sizes: [batch, 9], weighted });

/** The largest difference of any number that two trainings end in. */
async function difference(one: HeadBank, other: HeadBank): Promise<number> {
  const [a, b] = [await one.state(), await other.state()];
  expect(Object.keys(a.arrays)).toEqual(Object.keys(b.arrays));
  const each = Object.entries(a.arrays).map(([name, { data }]) =>
    data.reduce((most, value, i) => Math.max(most, Math.abs(value - b.arrays[name]!.data[i]!)), 0),
  );
  return Math.max(...each);
}

describeOnNative("graph of a bank's steps", () => {
  const plain = { kind: "sgd", momentum: 0.8, nesterov: false } as const;
  const cases: Record<string, Parameters<typeof bankOf>[0]> = {
    "linear heads, several trials": {},
    "one trial, whose decay is one number": { tried: [trial()], regularised: { bias: true, norm: true } },
    "plain momentum, cosine by the step": { tried: trials.map((one) => ({ ...one, optimizer: plain, schedule: { kind: "cosine", per: "step" } })) }, // prettier-ignore
    "batch norm with γ and β": { specs: [bnFc] },
    "an MLP with batch norm": { specs: [{ ...fc, name: "mlp", hidden: [hidden, hidden] }] },
    "heads on one layer and on several": { specs: [fc, bnFc, { ...fc, name: "both", reads: ["cls", "map"], shape: [18], input: "l2" }] }, // prettier-ignore
    "several seeds": { seeds: [0, 1, 2], specs: [fc, bnFc] },
    "different schedules in one head": { tried: [trial(), trial({ schedule: { kind: "multistep", milestones: [1], gamma: 0.1 } })] }, // prettier-ignore
    "label smoothing": { loss: { kind: "cross_entropy", labelSmoothing: 0.2 } },
    "blocks of one trial": { blockBytes: 4 },
  };
  for (const [name, options] of Object.entries(cases)) {
    test(`trains as operation by operation: ${name}`, async () => {
      const [eager, graph] = [bankOf(options), bankOf(options)];
      expect(await compile(graph)).toBe(true);
      train(eager);
      train(graph);
      expect(await difference(eager, graph)).toBeLessThan(2e-6);
      eager.dispose();
      graph.dispose();
    });
  }

  test("labels that are not known count nothing, in any batch", async () => {
    const targets = (rows: number) => Array.from({ length: rows }, (_, i) => (rows > 9 && i % 3 === 0 ? -1 : i % classes)); // prettier-ignore
    for (const weighted of [true, false]) {
      const [eager, graph] = [bankOf(), bankOf()];
      expect(await compile(graph, weighted)).toBe(true);
      train(eager, { targets });
      train(graph, { targets });
      expect(await difference(eager, graph)).toBeLessThan(2e-6);
      eager.dispose();
      graph.dispose();
    }
  });

  test("several classes an image", async () => {
    const targets = (rows: number) => Array.from({ length: rows * classes }, (_, i) => (i % 7 === 3 ? -1 : i % 2));
    const options = { loss: { kind: "binary_cross_entropy" } as const };
    const [eager, graph] = [bankOf(options), bankOf(options)];
    expect(await compile(graph, true)).toBe(true);
    train(eager, { targets });
    train(graph, { targets });
    expect(await difference(eager, graph)).toBeLessThan(2e-6);
    eager.dispose();
    graph.dispose();
  });

  test("is left and entered between steps, without a difference and without a tensor more", async () => {
    const [whole, apart] = [bankOf({ specs: [fc, bnFc] }), bankOf({ specs: [fc, bnFc] })];
    await compile(whole);
    await compile(apart);
    train(whole);
    const tensors = tf.memory().numTensors;
    const features = { map: tf.ones<tf.Rank.R2>([3, widths.map]) };
    for (let step = 0; step < steps; step++) {
      train(apart, { from: step, to: step + 1 });
      await apart.losses({ features, targets: [0, 1, 2] });
      if (step === 5) apart.restore(await apart.state());
      if (step === 8) {
        train(apart, { from: step + 1, to: step + 2 });
        await compile(apart);
        step++;
      }
      apart.freeze([[[0, 0, 0], [0, 0, 0]]]); // prettier-ignore
    }
    tf.dispose(features);
    expect(await difference(whole, apart)).toBe(0);
    expect(tf.memory().numTensors).toBe(tensors + Object.keys((await whole.state()).arrays).length);
    whole.dispose();
    apart.dispose();
  });

  test("freezes what diverged as it does without", async () => {
    const ends: Float32Array[] = [];
    for (const compiled of [false, true]) {
      const bank = bankOf({ tried: [trial(), trial({ lr: 1e30 })] });
      if (compiled) await compile(bank);
      train(bank, { to: 4 });
      expect(bank.freeze([[[1, NaN]]])).toEqual([{ seed: 0, head: 0, trial: 1 }]);
      train(bank, { from: 4 });
      expect((await bank.weights({ seed: 0, head: 0, trial: 1 })).weight.some((value) => value !== 0)).toBe(true);
      ends.push((await bank.weights({ seed: 0, head: 0, trial: 0 })).weight);
      bank.dispose();
    }
    ends[0]!.forEach((value, i) => expect(value).toBeCloseTo(ends[1]![i]!, 5));
  });

  test("leaves no tensor behind, and nothing of the steps it was recorded on", async () => {
    const before = tf.memory().numTensors;
    const bank = bankOf({ specs: [bnFc, { ...fc, name: "mlp", hidden: [hidden] }] });
    const made = tf.memory().numTensors;
    const state = await bank.state();
    await compile(bank);
    expect(await bank.state()).toEqual(state);
    bank.step({
      features: { map: tf.zeros([batch, widths.map]), cls: tf.zeros([batch, widths.cls]) },
      targets: new Array<number>(batch).fill(0),
      moment: { epoch: 0, epochs: 1, step: 0, stepsPerEpoch: 1 },
    });
    bank.dispose();
    expect(made).toBeGreaterThan(before);
    expect(tf.memory().numTensors).toBe(before + 2);
  });

  test("a step that TensorFlow takes one by one only leaves the bank as it was", async () => {
    const tensors = tf.memory().numTensors;
    const bank = bankOf({ specs: [bnFc] });
    const state = await bank.state();
    const refusing: typeof recordSteps = ({ gradients, ...options }) =>
      recordSteps({
        ...options,
        gradients: (given) => {
          gradients(given);
          throw new UnsupportedGraph("it is odd");
        },
      });
    expect(await bank.compile({ record: refusing, widths, sizes: [batch], weighted: false })).toBe(false);
    expect(await bank.state()).toEqual(state);
    bank.dispose();
    expect(tf.memory().numTensors).toBe(tensors);
  });

  test("other optimizers and dropout are trained operation by operation", async () => {
    const adam = { kind: "adam", beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const;
    for (const options of [
      { tried: [trial(), trial({ optimizer: adam })] },
      { specs: [{ ...fc, hidden: [{ ...hidden, dropout: 0.5 }] }] },
    ]) {
      const bank = bankOf(options);
      expect(await compile(bank)).toBe(false);
      train(bank);
      bank.dispose();
    }
  });
});

describeOnBackends("a bank that is asked for a graph", ({ device }) => {
  test("has one on native TensorFlow alone, and trains without it", async () => {
    const bank = bankOf();
    expect(await compile(bank)).toBe(device === "native");
    train(bank, { to: 1 });
    bank.dispose();
  });
});
