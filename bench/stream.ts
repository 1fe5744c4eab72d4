import path from "node:path";

import { openStore } from "../lib/features/store.js";
import { openStoredSource } from "../lib/features/stored-source.js";
import type { FeatureSource } from "../lib/features/source.js";
import type { Trial } from "../lib/heads/block.js";
import { linearHead } from "../lib/heads/head.js";
import { bytes } from "../lib/progress.js";
import { random } from "../lib/random.js";
import { bankTrainer } from "../lib/training/bank-trainer.js";
import type { Trainer } from "../lib/training/trainer.js";
import { forgetPeak, peakOf } from "./memory.js";
import { median } from "./peer.js";
import { randomStore } from "./random-store.js";

const shape = [2048];
const batchSize = 256;
const trial: Trial = {
  lr: 0.01,
  weightDecay: 5e-4,
  optimizer: { kind: "sgd", momentum: 0.9, nesterov: true },
  schedule: { kind: "constant" },
};

/** Images that are held in memory; a turn of the streamed ones is of as many. */
const held = 50_000;

/** One head on features that are streamed from disk in random order, beside the same head on features in memory. */
export async function stream(options: {
  folder: string;
  rounds: number;
  images?: number;
  classes?: number;
  precision: "float32" | "float16";
}): Promise<void> {
  const { folder: root, rounds, images = 1_000_000, classes = 1000, precision } = options;
  const begun = performance.now();
  const layers = [{ name: "features", shape }];
  const folder = await randomStore({ root, layers, images, classes, precision });
  console.log(`  ${images} × ${shape[0]} features in ${precision}, written in ${seconds(begun).toFixed(0)} s`);
  const store = await openStore({ folder });
  const streamed = await openStoredSource({ store, residentBytes: 0 });
  forgetPeak();
  const all = random(0, "order").permutation(images);
  const whole = trainerOf(streamed, all, classes);
  const started = performance.now();
  await whole.train({});
  const pass = seconds(started);
  const peak = peakOf();
  await whole.close();
  console.log(`  one pass, digests compared: ${rate(images, pass)}, peak memory ${bytes(peak)}`);

  const few = Math.min(held, images);
  const smaller = await randomStore({ root: path.join(root, "held"), layers, images: few, classes, precision });
  const resident = await openStoredSource({ store: await openStore({ folder: smaller }), residentBytes: Infinity });
  const trainers = {
    streamed: trainerOf(streamed, all.subarray(0, few), classes),
    held: trainerOf(resident, random(0, "order").permutation(few), classes),
  };
  const turns: Record<keyof typeof trainers, number[]> = { streamed: [], held: [] };
  for (let round = 0; round <= rounds; round++) {
    for (const name of ["streamed", "held"] as const) {
      const turn = performance.now();
      await trainers[name].train({});
      // The first round warms both up.
      if (round > 0) turns[name].push(seconds(turn));
    }
  }
  for (const [name, took] of Object.entries(turns)) console.log(`  ${name.padEnd(9)} ${rate(few, median(took))}`);
  console.log(`  the streamed one makes ${(median(turns.held) / median(turns.streamed)).toFixed(2)} of the steps`);
  for (const trainer of Object.values(trainers)) await trainer.close();
  await streamed.close();
  await resident.close();
}

/** One linear head, one epoch at a time. */
function trainerOf(source: FeatureSource, rows: Uint32Array, classes: number): Trainer {
  const part = { source, rows };
  return bankTrainer({
    job: {
      heads: [{ spec: linearHead({ layer: "features", shape, name: "fc" }), trials: [trial] }],
      seeds: [0],
      classes,
      loss: { kind: "cross_entropy", labelSmoothing: 0 },
      regularised: { bias: true, norm: false },
      epochs: 1,
      batchSize,
    },
    parts: { train: part, report: part },
  });
}

function seconds(since: number): number {
  return (performance.now() - since) / 1000;
}

function rate(images: number, took: number): string {
  const steps = Math.ceil(images / batchSize);
  return `${(steps / took).toFixed(1)} steps/s (${((1000 * took) / steps).toFixed(2)} ms each)`;
}
