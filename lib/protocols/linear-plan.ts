import * as tf from "@tensorflow/tfjs";

import type { ExtractionPlan } from "../features/extraction-plan.js";
import type { FeatureLayer } from "../features/source.js";
import { createHeadBank } from "../heads/bank.js";
import { initialWeights } from "../heads/head.js";
import { bytes, duration } from "../progress.js";
import { random } from "../random.js";
import type { LinearProtocol } from "./linear.js";
import { headsOf, trialsOf } from "./linear.js";

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
  const heads = headsOf(extraction.layers, settings.heads);
  const trials = trialsOf(settings);
  const steps = settings.epochs * Math.ceil(trainingImages / settings.batchSize);
  const secondsPerStep = await measureStep({ layers: extraction.layers, settings, classes });
  return {
    images: extraction.splits.reduce((sum, { images }) => sum + images, 0),
    toExtract: extraction.images,
    featureBytes: extraction.bytes,
    layers: extraction.layers.length,
    heads: heads.length,
    trials: trials.length,
    seeds: settings.seeds.length,
    steps,
    seconds: {
      extract: extraction.images === 0 ? 0 : extraction.images / extraction.imagesPerSecond!,
      train: steps * secondsPerStep,
    },
  };
}

async function measureStep(options: {
  layers: FeatureLayer[];
  settings: LinearProtocol;
  classes: number;
}): Promise<number> {
  const { layers, settings, classes } = options;
  const bank = createHeadBank({
    heads: headsOf(layers, settings.heads),
    trials: trialsOf(settings),
    seeds: settings.seeds,
    classes,
    sgd: settings.optimizer,
    regularizeBias: true,
    initial: (head, seed) => initialWeights(head, classes, seed),
  });
  const stream = random(0, "plan");
  const batch = settings.batchSize * settings.seeds.length;
  const made = layers.map(({ name, width }) => {
    const data = Float32Array.from({ length: batch * width }, () => stream.uniform());
    return [name, tf.tensor2d(data, [batch, width])] as const;
  });
  const features = Object.fromEntries(made);
  const labels = Int32Array.from({ length: batch }, () => stream.integer(classes));
  try {
    bank.step(features, labels, 1);
    await bank.freezeDiverged();
    const started = Date.now();
    for (let step = 0; step < measuredSteps; step++) bank.step(features, labels, 1);
    await bank.freezeDiverged();
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
