import fs from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { ensureBackend } from "../backend/backend.js";
import { expected, UserError } from "../errors.js";
import type { FeatureSet } from "../features/feature-set.js";
import type { FeatureLayer } from "../features/source.js";
import { digestOf } from "../files.js";
import type { HeadBank } from "../heads/bank.js";
import { createHeadBank } from "../heads/bank.js";
import type { Trial } from "../heads/block.js";
import type { HeadKind, HeadSpec } from "../heads/head.js";
import { initialWeights } from "../heads/head.js";
import type { Schedule } from "../optim/schedule.js";
import { checkSchedule } from "../optim/schedule.js";
import type { Progress } from "../progress.js";
import { silent } from "../progress.js";
import { exportHead } from "../results/export-head.js";
import type { ResultRecord } from "../results/record.js";
import type { ResultWriter } from "../results/writer.js";
import { resultWriter } from "../results/writer.js";
import { judge } from "./judging.js";
import { layerResult, linearProtocol, linearRecord } from "./linear-record.js";
import { choose, everyTrial } from "./selection.js";
import { planSplits } from "./splits.js";
import type { Part, SplitPlan } from "./splits.js";
import type { TrainingPosition } from "./training.js";
import { labelsOf, trainBank } from "./training.js";
import { resumeTraining, saveTraining } from "./training-state.js";
import type { SavedTraining } from "./training-state.js";

/**
 * VISSL's linear evaluation: heads on layers of a frozen backbone, trained by SGD on stored features; here with a sweep
 * of learning rate × weight decay, all of it in one bank, and over seeds.
 *
 * Source: VISSL, benchmark/linear_image_classification (protocols.md 1.1 to 1.4). Differences: features are stored, so
 * every epoch sees the same view of an image; settings are chosen on images that are not reported.
 */
export interface LinearProtocol {
  heads: HeadKind[];
  optimizer: { lr: number[]; weightDecay: number[]; momentum: number; nesterov: boolean };
  schedule: Schedule;
  epochs: number;
  /** Images a step. */
  batchSize: number;
  /** Each is a run of its own: initial weights and order of images. */
  seeds: number[];
  valFraction: number;
  testFraction: number;
  splitSeed: number;
  selectOn?: "held-out" | "val";
  reportOn?: "test" | "val";
}

/** VISSL's settings on ImageNet-1k, with a sweep, for no one learning rate suits all data. */
export const linearDefaults: LinearProtocol = {
  heads: ["fc", "bn_fc"],
  optimizer: { lr: [0.003, 0.01, 0.03, 0.1, 0.3], weightDecay: [0, 5e-4], momentum: 0.9, nesterov: true },
  schedule: { kind: "multistep", milestones: [8, 16, 24], gamma: 0.1 },
  epochs: 28,
  batchSize: 256,
  seeds: [0],
  valFraction: 0.1,
  testFraction: 0.2,
  splitSeed: 0,
};

export interface EvalLinearOptions extends Partial<LinearProtocol> {
  features: FeatureSet;
  /** Folder of the results; nothing is written where undefined. */
  out?: string;
  /** Further settings that the record should tell (where the features came from). */
  settings?: Record<string, unknown>;
  progress?: Progress;
  /** Stops after the step under way; what is trained is kept in `out` and taken up by the next call. */
  signal?: AbortSignal;
}

/** Seconds between two savings of the training. */
const savingInterval = 20;

/** Training images on which the loss is told after each epoch. */
const lossSample = 1024;

/**
 * Trains heads on every layer of the features and tells how well each separates the classes.
 *
 * @returns the record, which is also written to `out` with table, figure, predictions and the chosen heads.
 * @throws UserError where the data has several labels an image or fewer than two classes, a part would be empty, every
 * setting of a head diverges, or `out` holds another configuration.
 */
export async function evalLinear(options: EvalLinearOptions): Promise<ResultRecord> {
  const { features, out } = options;
  const startedAt = new Date();
  const settings = settingsOf(options);
  checkSchedule(settings.schedule, settings.epochs);
  checkData(features);
  await ensureBackend();
  const trials = trialsOf(settings);
  const plan = planSplits({ ...settings, splits: features.splits, choice: trials.length > 1 });
  const layers = plan.train.source.layers;
  const resolved = { ...options.settings, ...settings, layers: layers.map(({ name }) => name) };
  const run: LinearRun = {
    ...options,
    settings,
    resolved,
    plan,
    layers: resolved.layers,
    heads: headsOf(layers, settings.heads),
    trials,
    classes: features.classes,
    stateFile: out === undefined ? undefined : path.join(out, "training.safetensors"),
    key: digestOf({ protocol: linearProtocol, settings: resolved, origin: plan.train.source.origin }),
  };
  const bank = createBank(run);
  try {
    const saved = run.stateFile === undefined ? undefined : await resumeTraining({ ...run, file: run.stateFile, bank });
    if (out !== undefined) run.writer = await resultWriter({ out, settings: resolved, epochs: saved?.position.epoch });
    const started = Date.now();
    const settled = await train(run, bank, saved);
    const trainSeconds = (Date.now() - started) / 1000;
    const record = linearRecord({ run, startedAt, trainSeconds, results: await judgeHeads(run, bank, settled) });
    await run.writer?.finish(record);
    if (run.stateFile) await fs.rm(run.stateFile, { force: true });
    return record;
  } finally {
    run.writer?.close();
    bank.dispose();
  }
}

/** What all parts of one evaluation know. */
export interface LinearRun {
  features: FeatureSet;
  settings: LinearProtocol;
  /** The settings as the record tells them. */
  resolved: Record<string, unknown>;
  plan: SplitPlan;
  layers: string[];
  heads: HeadSpec[];
  trials: Trial[];
  /** Class names. */
  classes: string[];
  writer?: ResultWriter;
  stateFile?: string;
  /** Digest of all that the training depends on. */
  key: string;
  progress?: Progress;
  signal?: AbortSignal;
}

function createBank({ heads, trials, classes, settings }: LinearRun): HeadBank {
  return createHeadBank({
    heads,
    trials,
    seeds: settings.seeds,
    classes: classes.length,
    sgd: settings.optimizer,
    regularizeBias: true,
    initial: (head, seed) => initialWeights(head, classes.length, seed),
  });
}

/** Losses on the sample after the last epoch and after the one before, `[seed][head][trial]`. */
interface LossMemory {
  before: number[][][];
  last: number[][][];
}

/**
 * Trains from the beginning or from where an earlier run stopped.
 *
 * @returns whether a trial of a head has come to rest: its loss on the sample moved by less than a hundredth in the last
 * epoch, for every seed.
 */
async function train(
  run: LinearRun,
  bank: HeadBank,
  saved?: SavedTraining,
): Promise<(head: number, trial: number) => boolean> {
  const { settings, plan, layers, heads, trials, writer, stateFile: file, key, progress = silent, signal } = run;
  const sample: Part = { ...plan.train, rows: plan.train.rows.slice(0, lossSample) };
  let losses = saved?.memory as LossMemory | undefined;
  if (saved) {
    const { epoch, step } = saved.position;
    progress.note(`training goes on after epoch ${epoch} of ${settings.epochs}${step > 0 ? ` and ${step} steps` : ""}`);
  }
  const afterEpoch = async (epoch: number) => {
    for (const { seed, head, trial } of await bank.freezeDiverged()) {
      const { layer, kind } = heads[head]!;
      progress.note(
        `diverged, and frozen: ${layer} ${kind}, ${JSON.stringify(trials[trial])}, seed ${settings.seeds[seed]}`,
      );
    }
    const last = await lossesOf(bank, sample, layers);
    losses = { before: losses?.last ?? last, last };
    last.forEach((ofSeed, s) => {
      heads.forEach(({ layer, kind }, h) =>
        writer?.metrics({ epoch, seed: settings.seeds[s]!, layer, head: kind, loss: ofSeed[h] }),
      );
    });
  };
  let savedAt = Date.now();
  const afterStep = async (position: TrainingPosition) => {
    const due = signal?.aborted || position.epoch === settings.epochs || Date.now() - savedAt > savingInterval * 1000;
    if (file !== undefined && due) {
      await saveTraining({ file, key, bank, position, memory: losses });
      savedAt = Date.now();
    }
    signal?.throwIfAborted();
  };
  await trainBank({
    ...settings,
    bank,
    train: plan.train,
    layers,
    from: saved?.position,
    afterEpoch,
    afterStep,
    progress,
  });
  const { before, last } = losses!;
  return (h, t) => last.every((now, s) => Math.abs(now[h]![t]! - before[s]![h]![t]!) < 0.01 * before[s]![h]![t]!);
}

/** `[seed][head][trial]` */
async function lossesOf(bank: HeadBank, { source, rows }: Part, layers: string[]): Promise<number[][][]> {
  for await (const batch of source.pass({ rows, batchSize: rows.length, layers })) {
    const losses = await bank.losses(batch.features, labelsOf(source, batch.rows));
    tf.dispose(batch.features);
    return losses;
  }
  throw new Error("the sample of training images is empty");
}

/** Chooses a trial for each head, and tells what the chosen ones say of the images that are reported. */
async function judgeHeads(
  run: LinearRun,
  bank: HeadBank,
  settled: (head: number, trial: number) => boolean,
): Promise<ResultRecord["results"]> {
  const { plan, heads, settings, writer, layers } = run;
  const classes = run.classes.length;
  const scores = plan.select && (await everyTrial({ bank, part: plan.select, layers, classes }));
  const choices = heads.map((_, h) => choose({ bank, h, scores }));
  const wanted = choices.map(({ trial }) => [trial]);
  const judged = await judge({ bank, part: plan.report, layers, classes, wanted });
  const { source, rows } = plan.report;
  const images = { ids: Array.from(rows, (row) => source.ids[row]!), targets: labelsOf(source, rows) };
  const results: ResultRecord["results"] = [];
  for (const [h, head] of heads.entries()) {
    const choice = choices[h]!;
    const bySeed = judged.map((ofSeed) => ofSeed[h]![0]!);
    results.push(layerResult({ run, head, choice, bySeed, converged: settled(h, choice.trial) }));
    if (!writer) continue;
    const name = { layer: head.layer, head: head.kind };
    const seeds = bySeed.map((judgement, s) => ({ seed: settings.seeds[s]!, ...images, ...judgement }));
    await writer.predictions({ ...name, classes: run.classes, seeds });
    const weights = await bank.weights({ seed: 0, head: h, trial: choice.trial });
    const dir = writer.headFolder(name);
    await exportHead({ dir, layer: head.layer, shape: head.shape, head: weights, classes: run.classes });
  }
  return results;
}

const settingNames = [...Object.keys(linearDefaults), "selectOn", "reportOn"] as (keyof LinearProtocol)[];

function settingsOf(options: EvalLinearOptions): LinearProtocol {
  const given = settingNames.map((name) => [name, options[name]] as const).filter(([, value]) => value !== undefined);
  return { ...linearDefaults, ...(Object.fromEntries(given) as Partial<LinearProtocol>) };
}

export function trialsOf({ optimizer }: LinearProtocol): Trial[] {
  return optimizer.lr.flatMap((lr) => optimizer.weightDecay.map((weightDecay) => ({ lr, weightDecay })));
}

export function headsOf(layers: FeatureLayer[], kinds: HeadKind[]): HeadSpec[] {
  return layers.flatMap(({ name, shape }) => kinds.map((kind) => ({ layer: name, shape, kind })));
}

function checkData({ splits, classes }: FeatureSet): void {
  if (classes.length < 2) throw expected("at least two classes", "a linear evaluation", classes);
  for (const [name, source] of Object.entries(splits)) {
    if (source.targets.kind === "multi") {
      throw new UserError(`Expected one label an image in ${name} for eval-linear but received several`, {
        hint: "Softmax heads take one label an image.",
      });
    }
  }
}
