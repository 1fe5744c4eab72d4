import fs from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { ensureBackend } from "../backend/backend.js";
import { expected, UserError } from "../errors.js";
import type { FeatureSet } from "../features/feature-set.js";
import type { FeatureLayer } from "../features/source.js";
import { digestOf } from "../files.js";
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
import type { SeededBank, TrainingPosition } from "./training.js";
import { labelsOf, trainBanks } from "./training.js";
import { resumeTraining, saveTraining } from "./training-state.js";

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
  checkSchedule(settings.schedule);
  checkData(features);
  await ensureBackend();
  const trials = trialsOf(settings);
  const plan = planSplits({ ...settings, splits: features.splits, choice: trials.length > 1 });
  const layers = plan.train.source.layers;
  const resolved = {
    protocol: linearProtocol,
    ...options.settings,
    ...settings,
    layers: layers.map(({ name }) => name),
  };
  const run: LinearRun = {
    ...options,
    settings,
    resolved,
    plan,
    layers: resolved.layers,
    heads: headsOf(layers, settings.heads),
    trials,
    classes: features.classes,
    writer: out === undefined ? undefined : await resultWriter({ out, settings: resolved, resume: true }),
    stateFile: out === undefined ? undefined : path.join(out, "training.safetensors"),
  };
  const banks = settings.seeds.map((seed) => createSeededBank(run, seed));
  try {
    const started = Date.now();
    const settled = await train(run, banks);
    const trainSeconds = (Date.now() - started) / 1000;
    const record = linearRecord({ run, startedAt, trainSeconds, results: await judgeHeads(run, banks, settled) });
    await run.writer?.finish(record);
    if (run.stateFile) await fs.rm(run.stateFile, { force: true });
    return record;
  } finally {
    run.writer?.close();
    for (const { bank } of banks) bank.dispose();
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
  progress?: Progress;
  signal?: AbortSignal;
}

function createSeededBank({ heads, trials, classes, settings }: LinearRun, seed: number): SeededBank {
  const bank = createHeadBank({
    heads,
    trials,
    classes: classes.length,
    sgd: settings.optimizer,
    regularizeBias: true,
    initial: (head) => initialWeights(head, classes.length, seed),
  });
  return { seed, bank };
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
async function train(run: LinearRun, banks: SeededBank[]): Promise<(head: number, trial: number) => boolean> {
  const { settings, plan, layers, heads, trials, writer, stateFile: file, progress = silent, signal } = run;
  const key = digestOf({ settings: run.resolved, origin: plan.train.source.origin });
  const saved = file === undefined ? undefined : await resumeTraining({ file, key, banks });
  const sample: Part = { ...plan.train, rows: plan.train.rows.slice(0, lossSample) };
  let losses = saved?.memory as LossMemory | undefined;
  if (saved) {
    const { epoch, step } = saved.position;
    progress.note(`training goes on after epoch ${epoch} of ${settings.epochs}${step > 0 ? ` and ${step} steps` : ""}`);
  }
  const afterEpoch = async (epoch: number) => {
    for (const { seed, bank } of banks) {
      for (const { head, trial } of await bank.freezeDiverged()) {
        const { layer, kind } = heads[head]!;
        progress.note(`diverged, and frozen: ${layer} ${kind}, ${JSON.stringify(trials[trial])}, seed ${seed}`);
      }
    }
    const last = await lossesOf(banks, sample, layers);
    losses = { before: losses?.last ?? last, last };
    for (const [s, { seed }] of banks.entries()) {
      heads.forEach(({ layer, kind }, h) => writer?.metrics({ epoch, seed, layer, head: kind, loss: last[s]![h] }));
    }
  };
  let savedAt = Date.now();
  const afterStep = async (position: TrainingPosition) => {
    const due = signal?.aborted || position.epoch === settings.epochs || Date.now() - savedAt > savingInterval * 1000;
    if (file !== undefined && due) {
      await saveTraining({ file, key, banks, position, memory: losses });
      savedAt = Date.now();
    }
    signal?.throwIfAborted();
  };
  await trainBanks({
    ...settings,
    banks,
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
async function lossesOf(banks: SeededBank[], sample: Part, layers: string[]): Promise<number[][][]> {
  const { source, rows } = sample;
  for await (const batch of source.pass({ rows, batchSize: rows.length, layers })) {
    try {
      return await Promise.all(banks.map(({ bank }) => bank.losses(batch.features, labelsOf(source, batch.rows))));
    } finally {
      tf.dispose(batch.features);
    }
  }
  throw new Error("the sample of training images is empty");
}

/** Chooses a trial for each head, and tells what the chosen ones say of the images that are reported. */
async function judgeHeads(
  run: LinearRun,
  banks: SeededBank[],
  settled: (head: number, trial: number) => boolean,
): Promise<ResultRecord["results"]> {
  const { plan, heads, settings, classes, writer, layers } = run;
  const verdicts = plan.select
    ? await everyTrial({ banks, part: plan.select, layers, classes: classes.length })
    : undefined;
  const choices = heads.map((head, h) => choose({ head, trials: run.trials, banks, h, scores: verdicts }));
  const wanted = choices.map(({ trial }) => [trial]);
  const judged = [];
  for (const { bank } of banks)
    judged.push(await judge({ bank, part: plan.report, layers, classes: classes.length, wanted }));
  const results: ResultRecord["results"] = [];
  for (const [h, head] of heads.entries()) {
    const choice = choices[h]!;
    const bySeed = judged.map((ofSeed) => ofSeed[h]![0]!);
    results.push(layerResult({ run, head, choice, bySeed, converged: settled(h, choice.trial) }));
    if (!writer) continue;
    const { source, rows } = plan.report;
    const images = { ids: Array.from(rows, (row) => source.ids[row]!), targets: labelsOf(source, rows) };
    const name = { layer: head.layer, head: head.kind };
    const seeds = bySeed.map((judgement, s) => ({ seed: settings.seeds[s]!, ...images, ...judgement }));
    await writer.predictions({ ...name, classes, seeds });
    const weights = await banks[0]!.bank.weights(h, choice.trial);
    await exportHead({ dir: writer.headFolder(name), layer: head.layer, shape: head.shape, head: weights, classes });
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
