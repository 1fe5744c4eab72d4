import * as tf from "@tensorflow/tfjs";

import type { ExtractionPlan } from "../features/extraction-plan.js";
import type { FeatureLayer } from "../features/source.js";
import { createHeadBank } from "../heads/bank.js";
import type { HeadSpec } from "../heads/head.js";
import { initialWeights } from "../heads/head.js";
import { bytes, duration } from "../progress.js";
import { random } from "../random.js";
import type { SearchTrial } from "../search/space.js";
import type { LinearProtocol } from "./linear.js";
import { headsOf } from "./linear-heads.js";
import { linearTrials } from "./linear-trials.js";

/** What an evaluation would be, before it is done. */
export interface LinearPlan {
  images: number;
  toExtract: number;
  featureBytes: number;
  layers: number;
  heads: number;
  trials: number;
  seeds: number;
  steps: number;
  seconds: { extract: number; train: number };
}

const measuredSteps = 5;

/**
 * How much work an evaluation is: counts, and about how long, from one measured batch of extraction and a few measured
 * steps of training on random features of the same shapes.
 *
 * @param trainingImages about how many images the heads are trained on.
 */
export async function planLinear(options: {
  extraction: Pick<ExtractionPlan, "images" | "bytes" | "imagesPerSecond"> & {
    layers: FeatureLayer[];
    splits: { images: number }[];
  };
  settings: LinearProtocol;
  classes: number;
  trainingImages: number;
}): Promise<LinearPlan> {
  const { extraction, settings, classes, trainingImages } = options;
  const heads = headsOf({ layers: extraction.layers, heads: settings.heads, classes });
  const trials = linearTrials(settings);
  const batchSizes = new Set(trials.map(({ batchSize = trainingImages }) => batchSize));
  const steps = [...batchSizes].map((batchSize) => settings.epochs * Math.ceil(trainingImages / batchSize));
  let train = 0;
  for (const [i, batchSize] of [...batchSizes].entries()) {
    const own = trials.filter((trial) => (trial.batchSize ?? trainingImages) === batchSize);
    train +=
      steps[i]! * (await measureStep({ heads, trials: own, batchSize, settings, classes, layers: extraction.layers }));
  }
  return {
    images: extraction.splits.reduce((sum, { images }) => sum + images, 0),
    toExtract: extraction.images,
    featureBytes: extraction.bytes,
    layers: extraction.layers.length,
    heads: heads.length,
    trials: trials.length,
    seeds: settings.seeds.length,
    steps: steps.reduce((sum, count) => sum + count, 0),
    seconds: {
      extract: extraction.images === 0 ? 0 : extraction.images / extraction.imagesPerSecond!,
      train,
    },
  };
}

async function measureStep(options: {
  heads: HeadSpec[];
  trials: SearchTrial[];
  batchSize: number;
  settings: LinearProtocol;
  layers: FeatureLayer[];
  classes: number;
}): Promise<number> {
  const { heads, trials, batchSize, settings, layers, classes } = options;
  const bank = createHeadBank({
    heads: heads.map((spec) => ({ spec, trials })),
    seeds: settings.seeds,
    classes,
    loss: { kind: "cross_entropy", labelSmoothing: settings.labelSmoothing ?? 0 },
    regularised: { bias: true, norm: false },
    initial: (head, seed) => initialWeights(head, classes, seed),
  });
  const stream = random(0, "plan");
  const rows = batchSize * settings.seeds.length;
  const made = layers.map(({ name, width }) => {
    const data = Float32Array.from({ length: rows * width }, () => stream.uniform());
    return [name, tf.tensor2d(data, [rows, width])] as const;
  });
  const features = Object.fromEntries(made);
  const targets = Int32Array.from({ length: rows }, () => stream.integer(classes));
  const step = () => bank.step({ features, targets, moment: { epoch: 0, epochs: 1, step: 0, stepsPerEpoch: 1 } });
  try {
    step();
    await bank.weights({ seed: 0, head: 0, trial: 0 });
    const started = Date.now();
    for (let i = 0; i < measuredSteps; i++) step();
    await bank.weights({ seed: 0, head: 0, trial: 0 });
    return (Date.now() - started) / 1000 / measuredSteps;
  } finally {
    tf.dispose(features);
    bank.dispose();
  }
}

export function formatLinearPlan(plan: LinearPlan): string {
  const { images, toExtract, featureBytes, layers, heads, trials, seeds, steps, seconds } = plan;
  return [
    `images      ${images}, of which ${toExtract} have to pass through the backbone`,
    `features    ${layers} layers, ${bytes(featureBytes)} on disk`,
    `heads       ${heads} × ${trials} settings × ${seeds} seeds = ${heads * trials * seeds} trials, ${steps} steps`,
    `time        about ${duration(seconds.extract)} for extraction and ${duration(seconds.train)} for training`,
  ].join("\n");
}
