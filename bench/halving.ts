/**
 * Successive halving beside the full sweep, on the same splits: what each chooses, and how long it takes.
 *
 *     node dist/bench/halving.js [--features DIR|npy:X,Y ...] [--layers a,b] [--seeds 0,1] [--synthetic 6]
 *                                [--classes 10] [--width 128] [--epochs 28] [--device native]
 *
 * A data set is a layer of the features under a head and a seed (of splits, initial weights and orders), or a synthetic
 * one: normal classes in features of falling scale. Of two settings that are equal on the images of the choice the full
 * sweep takes the first; so a regret may be negative, and its mean is what counts.
 */
import { parseArgs } from "node:util";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../lib/backend/backend.js";
import { arraySource } from "../lib/features/array-source.js";
import { openFeatures } from "../lib/features/open-features.js";
import type { FeatureLayer, FeatureSource } from "../lib/features/source.js";
import { createHeadBank } from "../lib/heads/bank.js";
import type { Trial } from "../lib/heads/block.js";
import { type HeadKind, initialWeights } from "../lib/heads/head.js";
import { learningRateFactor, type Schedule } from "../lib/optim/schedule.js";
import { planSplits, type SplitPlan } from "../lib/protocols/splits.js";
import { labelsOf } from "../lib/protocols/training.js";
import { random } from "../lib/random.js";
import { type CandidateScore, fullMoment, halve, planHalving, type Rung } from "../lib/search/halving.js";

const candidates: Trial[] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3].flatMap((lr) =>
  [0, 1e-5, 1e-4, 1e-3].map((weightDecay) => ({ lr, weightDecay })),
);
const batchSize = 256;

interface Set {
  name: string;
  plan: SplitPlan;
  layer: FeatureLayer;
  kind: HeadKind;
  classes: number;
  seed: number;
}

/** What one candidate scores on the images of the choice, and on those that are reported. */
interface Outcome extends CandidateScore {
  reported: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      features: { type: "string", multiple: true, default: [] },
      layers: { type: "string" },
      seeds: { type: "string", default: "0,1" },
      synthetic: { type: "string", default: "6" },
      classes: { type: "string", default: "10" },
      width: { type: "string", default: "128" },
      epochs: { type: "string", default: "28" },
      device: { type: "string", default: "native" },
    },
  });
  const { device, tensorflow } = await prepareBackend({ device: values.device as "native" | "wasm" });
  const epochs = Number(values.epochs);
  const seeds = values.seeds.split(",").map(Number);
  const sets = await openSets({
    ...values,
    layers: values.layers?.split(","),
    seeds,
    synthetic: Number(values.synthetic),
    classes: Number(values.classes),
    width: Number(values.width),
  });
  const { rungs, cost } = planHalving({ candidates: candidates.length, epochs });
  const planned = rungs.map((rung) => `${rung.trials} × ${rung.epochs}`).join(", ");
  console.log(
    `${device} ${tensorflow ?? ""}; ${candidates.length} candidates, ${epochs} epochs; rungs (trials × epochs) ${planned}`,
  );
  console.log(`planned work: ${(100 * cost).toFixed(1)} % of the full sweep's`);
  console.log("data set                                 full   halved  regret   same   time");
  const regrets: number[] = [];
  let [full, halved] = [0, 0];
  // Once for the warm-up of the backend.
  await sweep(sets[0]!, candidates, { trials: candidates.length, epochs: 1, rateFactor: 1 }, epochs);
  for (const set of sets) {
    const row = await compare(set, rungs, epochs);
    regrets.push(row.regret);
    full += row.seconds.full;
    halved += row.seconds.halved;
    const columns = [
      set.name.padEnd(38),
      (100 * row.full).toFixed(2).padStart(6),
      (100 * row.halved).toFixed(2).padStart(8),
      row.regret.toFixed(2).padStart(7),
      (row.same ? "yes" : "no").padStart(6),
      `${((100 * row.seconds.halved) / row.seconds.full).toFixed(0)} %`.padStart(6),
    ];
    console.log(columns.join(" "));
  }
  const mean = regrets.reduce((sum, regret) => sum + regret, 0) / regrets.length;
  const deviation = Math.sqrt(regrets.reduce((sum, regret) => sum + (regret - mean) ** 2, 0) / (regrets.length - 1));
  const error = (deviation / Math.sqrt(regrets.length)).toFixed(2);
  console.log(`mean regret ${mean.toFixed(2)} ± ${error} points (standard error) over ${sets.length} data sets`);
  console.log(
    `time ${((100 * halved) / full).toFixed(1)} % of the full sweep's (${halved.toFixed(1)} of ${full.toFixed(1)} s)`,
  );
}

async function compare(set: Set, rungs: Rung[], epochs: number) {
  const seconds = { full: 0, halved: 0 };
  const timed = async (of: keyof typeof seconds, trials: Trial[], rung: Rung): Promise<Outcome[]> => {
    const trained = await sweep(set, trials, rung, epochs);
    seconds[of] += trained.seconds;
    return trained.outcomes;
  };
  const all = await timed("full", candidates, { trials: candidates.length, epochs, rateFactor: 1 });
  let last = new Map<number, Outcome>();
  const { chosen } = await halve({
    heads: 1,
    rates: candidates.map(({ lr }) => lr),
    rungs,
    images: set.plan.select!.rows.length,
    evaluate: async ([survivors], rung) => {
      const outcomes = await timed("halved", survivors!.map((candidate) => candidates[candidate]!), rung); // prettier-ignore
      last = new Map(survivors!.map((candidate, i) => [candidate, outcomes[i]!]));
      return [outcomes];
    },
  });
  const scoreOf = ({ score, diverged }: Outcome) => (diverged ? -1 : score);
  const winner = all.reduce((best, each) => (scoreOf(each) > scoreOf(best) ? each : best));
  const found = last.get(chosen[0]!)!;
  const regret = 100 * (winner.reported - found.reported);
  return { full: winner.reported, halved: found.reported, regret, same: all.indexOf(winner) === chosen[0], seconds };
}

/** Trains candidates in one bank as a rung asks for, and judges all of them on both parts. */
async function sweep(
  { plan, layer, kind, classes, seed }: Set,
  trials: Trial[],
  { epochs, rateFactor }: Rung,
  allEpochs: number,
): Promise<{ outcomes: Outcome[]; seconds: number }> {
  const started = performance.now();
  const bank = createHeadBank({
    heads: [{ layer: layer.name, shape: layer.shape, kind }],
    trials: trials.map(({ lr, weightDecay }) => ({ lr: lr * rateFactor, weightDecay: weightDecay * rateFactor })),
    seeds: [seed],
    classes,
    sgd: { momentum: 0.9, nesterov: true },
    regularizeBias: true,
    initial: (head) => initialWeights(head, classes, seed),
  });
  const milestones = [2, 4, 6].map((sevenths) => Math.round((allEpochs * sevenths) / 7));
  const schedule: Schedule = { kind: "multistep", milestones, gamma: 0.1 };
  const { source, rows: all } = plan.train;
  const used = all.length % batchSize === 1 ? all.length - 1 : all.length;
  const stepsPerEpoch = Math.ceil(used / batchSize);
  for (let epoch = 0; epoch < epochs; epoch++) {
    const order = random(seed, "order", epoch).permutation(all.length).map((at) => all[at]!); // prettier-ignore
    let step = 0;
    for await (const batch of source.pass({ rows: order.subarray(0, used), batchSize, layers: [layer.name] })) {
      const moment = fullMoment({ epoch, epochs, step: step++, stepsPerEpoch }, allEpochs);
      bank.step(batch.features, labelsOf(source, batch.rows), learningRateFactor(schedule, moment));
      tf.dispose(batch.features);
    }
    await bank.freezeDiverged();
  }
  const score = async ({ source: of, rows }: SplitPlan["train"]) => {
    const sums = trials.map(() => ({ right: 0, loss: 0 }));
    for await (const batch of of.pass({ rows, batchSize: 1024, layers: [layer.name] })) {
      const [[matrices]] = (await bank.logits(batch.features)) as [[Float32Array[]]];
      tf.dispose(batch.features);
      const labels = labelsOf(of, batch.rows);
      matrices.forEach((scores, t) =>
        labels.forEach((label, row) => {
          const own = scores.subarray(row * classes, (row + 1) * classes);
          const most = Math.max(...own);
          sums[t]!.right += own.indexOf(most) === label ? 1 : 0;
          sums[t]!.loss += Math.log(own.reduce((sum, one) => sum + Math.exp(one - most), 0)) + most - own[label]!;
        }),
      );
    }
    return sums.map(({ right, loss }) => ({ score: right / rows.length, loss: loss / rows.length }));
  };
  const chosenOn = await score(plan.select!);
  const seconds = (performance.now() - started) / 1000;
  const reported = await score(plan.report);
  const diverged = bank.diverged[0]![0]!;
  bank.dispose();
  const outcomes = chosenOn.map((own, t) => ({ ...own, diverged: diverged[t]!, reported: reported[t]!.score }));
  return { outcomes, seconds };
}

async function openSets(options: {
  features: string[];
  layers?: string[];
  seeds: number[];
  synthetic: number;
  classes: number;
  width: number;
}): Promise<Set[]> {
  const { features, layers, seeds, synthetic, classes, width } = options;
  const sets: Set[] = [];
  const add = (
    name: string,
    splits: Partial<Record<"train" | "val" | "test" | "all", FeatureSource>>,
    classes: number,
    seed: number,
  ) => {
    const plan = planSplits({ splits, valFraction: 0.1, testFraction: 0.2, splitSeed: seed, choice: true });
    for (const layer of plan.train.source.layers) {
      for (const kind of ["fc", "bn_fc"] as const) {
        sets.push({ name: `${name} ${layer.name} ${kind} seed ${seed}`, plan, layer, kind, classes, seed });
      }
    }
  };
  for (const spec of features) {
    const {
      splits,
      classes: names,
      data,
    } = await openFeatures({
      spec,
      layers: spec.startsWith("npy:") ? undefined : layers,
    });
    for (const seed of seeds) add(data.name, splits, names.length, seed);
  }
  for (let seed = 0; seed < synthetic; seed++)
    add("synthetic", { all: await normalClasses({ seed, classes, width }) }, classes, seed);
  return sets;
}

/** Normal classes; how far they are apart, and how fast the scales of the features fall, differ from seed to seed. */
async function normalClasses(options: { seed: number; classes: number; width: number }): Promise<FeatureSource> {
  const { seed, classes, width } = options;
  const images = 6000;
  const stream = random(seed, "normal classes");
  const apart = 0.15 + 0.3 * stream.uniform();
  const falling = 0.6 * stream.uniform();
  const size = 10 ** (2 * stream.uniform() - 1);
  const means = Float32Array.from({ length: classes * width }, () => stream.normal());
  const data = new Float32Array(images * width);
  const labels = Int32Array.from({ length: images }, () => stream.integer(classes));
  for (let at = 0; at < data.length; at++) {
    const [image, feature] = [Math.floor(at / width), at % width];
    const value = apart * means[labels[image]! * width + feature]! + stream.normal();
    data[at] = size * (feature + 1) ** -falling * Math.max(0, value);
  }
  return arraySource({ layers: { features: { shape: [width], data } }, targets: { kind: "single", labels } });
}

void main();
