import * as tf from "@tensorflow/tfjs";

import type { ExtractionPlan } from "../../features/extraction-plan.js";
import { arraySource } from "../../features/array-source.js";
import type { FeatureLayer } from "../../features/source.js";
import { createHeadBank } from "../../heads/bank.js";
import type { Block } from "../../heads/block.js";
import { headProblems } from "../../heads/full-batch.js";
import type { HeadSpec } from "../../heads/head.js";
import { initialWeights } from "../../heads/head.js";
import { bytes, duration } from "../../progress.js";
import { random } from "../../random.js";
import type { SearchTrial } from "../../search/space.js";
import { chunkSize, fullBatchObjective } from "../../training/full-batch-objective.js";
import type { LinearProtocol } from "./linear.js";
import { headsOf } from "./heads.js";
import { linearTrials } from "./trials.js";

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
  const { trials } = linearTrials(settings);
  const batchSizes = new Set(trials.map(({ batchSize }) => batchSize));
  const steps = [...batchSizes].map(
    (batchSize = trainingImages) => settings.epochs * Math.ceil(trainingImages / batchSize),
  );
  let train = 0;
  for (const [i, batchSize] of [...batchSizes].entries()) {
    const own = trials.filter((trial) => trial.batchSize === batchSize);
    const measured = { heads, trials: own, settings, classes, layers: extraction.layers };
    train +=
      steps[i]! *
      (batchSize === undefined
        ? await measureIteration({ ...measured, trainingImages })
        : await measureStep({ ...measured, batchSize }));
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

interface Measured {
  heads: HeadSpec[];
  trials: SearchTrial[];
  settings: LinearProtocol;
  layers: FeatureLayer[];
  classes: number;
}

/** Heads and images like those of the evaluation. */
function sampleOf({ heads, trials, settings, layers, classes }: Measured, rows: number) {
  const job = {
    heads: heads.map((spec) => ({ spec, trials })),
    seeds: settings.seeds,
    classes,
    loss: { kind: "cross_entropy" as const, labelSmoothing: settings.labelSmoothing ?? 0 },
    regularised: { bias: true, norm: false },
  };
  const stream = random(0, "plan");
  const data = layers.map(({ name, shape, width }) => {
    return [name, { shape, data: Float32Array.from({ length: rows * width }, () => stream.uniform()) }] as const;
  });
  return {
    job,
    bank: createHeadBank({ ...job, initial: (head, seed) => initialWeights(head, classes, seed) }),
    layers: Object.fromEntries(data),
    targets: Int32Array.from({ length: rows }, () => stream.integer(classes)),
  };
}

/** Seconds of a step on a batch. */
async function measureStep(options: Measured & { batchSize: number }): Promise<number> {
  const rows = options.batchSize * options.settings.seeds.length;
  const { bank, layers, targets } = sampleOf(options, rows);
  const features = Object.fromEntries(
    Object.entries(layers).map(([name, { data }]) => [name, tf.tensor2d(data, [rows, data.length / rows])]),
  );
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

/** Seconds of an iteration of L-BFGS, from a chunk of the images; a line search mostly takes its first step. */
async function measureIteration(options: Measured & { trainingImages: number }): Promise<number> {
  const images = Math.min(chunkSize, options.trainingImages);
  const { job, bank, layers, targets } = sampleOf(options, images);
  const source = await arraySource({ layers, targets: { kind: "single", labels: targets } });
  const part = { source, rows: Uint32Array.from({ length: images }, (_, row) => row) };
  let seconds = 0;
  try {
    for (const { spec, blocks } of bank.parts) {
      for (const { block } of blocks) seconds += await measureEvaluation({ job, part, spec, block });
    }
    return (seconds * options.trainingImages) / images;
  } finally {
    await source.close();
    bank.dispose();
  }
}

async function measureEvaluation(
  options: Pick<Parameters<typeof fullBatchObjective>[0], "job" | "part" | "spec"> & { block: Block },
): Promise<number> {
  const problems = headProblems(options.block, options.job.seeds.length);
  const objective = await fullBatchObjective({ ...options, problems });
  const x = problems.read();
  const evaluate = async () => (await objective.evaluate(x)).gradient.dispose();
  try {
    await evaluate();
    const started = Date.now();
    for (let i = 0; i < measuredSteps; i++) await evaluate();
    return (Date.now() - started) / 1000 / measuredSteps;
  } finally {
    x.dispose();
    objective.dispose();
    problems.dispose();
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
