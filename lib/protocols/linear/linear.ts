import fs from "node:fs/promises";
import path from "node:path";

import { ensureBackend } from "../../backend/backend.js";
import { expected, UserError } from "../../errors.js";
import type { FeatureSet } from "../../features/feature-set.js";
import type { FeatureLayer } from "../../features/source.js";
import { digestOf } from "../../files.js";
import type { Regularised } from "../../heads/block.js";
import { checkFullBatch } from "../../heads/full-batch-heads.js";
import type { HeadSpec } from "../../heads/head.js";
import type { Loss } from "../../heads/loss.js";
import type { Optimizer } from "../../optim/optimizer.js";
import type { Schedule } from "../../optim/schedule.js";
import { checkSchedule, visslSchedule } from "../../optim/schedule.js";
import type { Progress } from "../../progress.js";
import { exportHead } from "../../results/export-head.js";
import type { ResultRecord } from "../../results/record.js";
import type { ResultWriter } from "../../results/writer.js";
import { resultWriter } from "../../results/writer.js";
import type { Numbers } from "../../search/range.js";
import type { SearchTrial } from "../../search/space.js";
import type { TrainingParts } from "../../training/job.js";
import type { Judgement } from "../../training/judging.js";
import { targetsOf } from "../../training/passes.js";
import type { HeadRequest } from "./heads.js";
import { headsOf } from "./heads.js";
import { layerResult, linearProtocol, linearRecord } from "./record.js";
import type { Sweep } from "./sweep.js";
import { sweep } from "./sweep.js";
import { linearTrials } from "./trials.js";
import { choose } from "./selection.js";
import type { SplitPlan } from "../splits.js";
import { planSplits } from "../splits.js";
import { refuseUnseenClasses } from "../unseen-classes.js";

/**
 * VISSL's linear evaluation: heads on layers of a frozen backbone, with a sweep of their settings, all of it in as few
 * passes over the features as can be, and over seeds.
 *
 * Source: VISSL, benchmark/linear_image_classification (protocols.md 1.1 to 1.4). Differences: settings are chosen on
 * images that are not reported; stored features are of one view of an image.
 */
export interface LinearProtocol {
  /** As {@link readHead} reads them, or in full. */
  heads: (string | HeadRequest)[];
  /** What is swept beside schedule, batch size and head width; each is a list, or a range. */
  optimizer: {
    /** Default: sgd. */
    kind?: (Optimizer["kind"] | Optimizer)[];
    lr: Numbers;
    weightDecay: Numbers;
    /** Of SGD and LARS. */
    momentum?: Numbers | number;
    nesterov?: boolean;
    /** Whether biases are decayed. Default: true, as in VISSL's benchmark. */
    regularizeBias?: boolean;
    /** Whether batch norm is decayed. Default: false. */
    regularizeNorm?: boolean;
    /** Images a step that the learning rates are meant for; others scale them in proportion. Default: any. */
    lrBatch?: number;
  };
  schedule: Schedule | Schedule[];
  epochs: number;
  /** Images a step; several are swept. */
  batchSize: Numbers | number;
  /** Of the hidden layers of heads that have some, in place of their own; several are swept. */
  headWidth?: Numbers;
  /** Default: grid. */
  search?: SearchMethod;
  /** Settings that are drawn; needed by `random` and `tpe`, possible with `halving`. */
  trials?: number;
  searchSeed?: number;
  /** In [0, 1). Default: 0. */
  labelSmoothing?: number;
  /** Each is a run of its own: initial weights and order of images. */
  seeds: number[];
  valFraction: number;
  testFraction: number;
  splitSeed: number;
  selectOn?: "held-out" | "val";
  reportOn?: "test" | "val";
}

/**
 * - `grid`: every combination, each for all epochs
 * - `random`: so many draws
 * - `halving`: the grid (or draws), all of it briefly, the better part longer, few for all epochs
 * - `tpe`: so many draws from ranges, for each head its own; the later ones where the earlier ones did well
 */
export type SearchMethod = "grid" | "random" | "halving" | "tpe";

/** VISSL's settings on ImageNet-1k, with a sweep, for no one learning rate suits all data. */
export const linearDefaults: LinearProtocol = {
  heads: ["fc", "bn_fc"],
  optimizer: { lr: [0.003, 0.01, 0.03, 0.1, 0.3], weightDecay: [0, 5e-4], momentum: [0.9], nesterov: true },
  schedule: visslSchedule(28),
  epochs: 28,
  batchSize: 256,
  seeds: [0],
  valFraction: 0.1,
  testFraction: 0.2,
  splitSeed: 0,
};

export interface EvalLinearOptions extends Partial<LinearProtocol> {
  features: FeatureSet;
  /** Names of the features' layers, and such joined by `+`. Default: each layer by itself. */
  layers?: string[];
  /** Folder of the results; nothing is written where undefined. */
  out?: string;
  /** Further settings that the record should tell (where the features came from). */
  settings?: Record<string, unknown>;
  /** Processes that train side by side. Default: as many as pay, for features that are stored. */
  processes?: number;
  /** Epochs between two savings of the training. Default: whenever twenty seconds have passed. */
  checkpointEvery?: number;
  progress?: Progress;
  /** Stops after the step under way; what is trained is kept in `out` and taken up by the next call. */
  signal?: AbortSignal;
}

/** What all parts of one evaluation know. */
export interface LinearRun {
  features: FeatureSet;
  settings: LinearProtocol;
  /** The settings as the record tells them. */
  resolved: Record<string, unknown>;
  plan: SplitPlan;
  heads: HeadSpec[];
  /** What each head is tried with, `[head][trial]`; a search by TPE adds to it as it goes. */
  trials: SearchTrial[][];
  /** Class names. */
  classes: string[];
  loss: Loss;
  regularised: Regularised;
  writer?: ResultWriter;
  /** Where the training is kept. */
  folder?: string;
  /** Digest of all that the training depends on. */
  key: string;
  processes?: number;
  checkpointEvery?: number;
  progress?: Progress;
  signal?: AbortSignal;
}

/**
 * Trains heads on every layer of the features and tells how well each separates the classes.
 *
 * @returns the record, which is also written to `out` with tables, figures, predictions and the chosen heads.
 * @throws UserError where there are fewer than two classes, a part would be empty or holds a class that training lacks,
 * every setting of a head diverges, or `out` holds another configuration.
 */
export async function evalLinear(options: EvalLinearOptions): Promise<ResultRecord> {
  const { out } = options;
  const startedAt = new Date();
  const run = prepare(options);
  await ensureBackend();
  try {
    if (out !== undefined) run.writer = await resultWriter({ out, settings: run.resolved });
    const started = Date.now();
    const found = await sweep(run);
    try {
      const trainSeconds = (Date.now() - started) / 1000;
      const record = linearRecord({ run, startedAt, trainSeconds, results: await reportHeads(run, found) });
      await run.writer?.finish(record);
      if (run.folder) await fs.rm(run.folder, { recursive: true, force: true });
      return record;
    } finally {
      await found.close();
    }
  } finally {
    run.writer?.close();
  }
}

function prepare(options: EvalLinearOptions): LinearRun {
  const { features, out } = options;
  const settings = settingsOf(options);
  const schedules = [settings.schedule].flat();
  for (const schedule of schedules) checkSchedule(schedule, settings.epochs);
  const { classes } = features;
  const source = features.splits.train ?? features.splits.all;
  if (source?.targets.kind !== "multi" && classes.length < 2) {
    throw expected("at least two classes", "a linear evaluation", classes);
  }
  if (settings.seeds.length === 0) throw expected("at least one", "the seeds", settings.seeds);
  const { trials, notes } = linearTrials(settings);
  for (const note of notes) options.progress?.note(note);
  const plan = planSplits({ ...settings, splits: features.splits, choice: trials.length > 1 });
  refuseUnseenClasses({ plan, classes });
  const layers = evaluatedLayers(plan.train.source.layers, options.layers);
  const heads = headsOf({ layers, heads: settings.heads, classes: classes.length });
  if (trials.some(({ optimizer }) => optimizer.kind === "lbfgs")) {
    checkLbfgs(features);
    heads.forEach((head) => checkFullBatch(head));
  }
  const resolved = { ...settings, ...options.settings, layers: layers.map(({ name }) => name) };
  const { regularizeBias = true, regularizeNorm = false } = settings.optimizer;
  const multi = plan.train.source.targets.kind === "multi";
  return {
    ...options,
    settings,
    resolved,
    plan,
    heads,
    trials: heads.map(() => (settings.search === "tpe" ? [] : trials)),
    classes,
    loss: multi
      ? { kind: "binary_cross_entropy" }
      : { kind: "cross_entropy", labelSmoothing: settings.labelSmoothing ?? 0 },
    regularised: { bias: regularizeBias, norm: regularizeNorm },
    folder: out === undefined ? undefined : path.join(out, "training"),
    key: digestOf({ protocol: linearProtocol, settings: resolved, origin: plan.train.source.origin }),
  };
}

/** L-BFGS needs a loss that stays the same. */
function checkLbfgs({ backbone }: FeatureSet): void {
  if (backbone?.trainTransform === undefined) return;
  throw new UserError("Expected features of one view of each image for lbfgs but received augmented ones", {
    hint: "Leave out --views and --features live, or train by another --optimizer.",
  });
}

/** Layers by themselves, and joined ones. */
function evaluatedLayers(layers: FeatureLayer[], names = layers.map(({ name }) => name)): FeatureLayer[] {
  const known = layers.map(({ name }) => name);
  if (names.length === 0) throw expected("at least one", "the layers", names);
  return names.map((name) => {
    const own = layers.find((layer) => layer.name === name);
    if (own) return own;
    const joined = name.split("+").map((piece) => {
      const layer = layers.find((one) => one.name === piece);
      if (!layer) throw expected(`one of ${known.join(", ")}`, "the layers", piece);
      return layer;
    });
    const width = joined.reduce((sum, layer) => sum + layer.width, 0);
    return { name, shape: [width], width };
  });
}

export function partsOf({ plan }: Pick<LinearRun, "plan">): TrainingParts {
  const { train, select, report } = plan;
  return { train, select, report };
}

/** Chooses a trial for each head, and tells what the chosen ones say of the images that are reported. */
async function reportHeads(run: LinearRun, found: Sweep): Promise<ResultRecord["results"]> {
  const { heads, writer, trials } = run;
  const choices = heads.map((head, h) => choose({ head, trials: trials[h]!, outcomes: found.outcomes[h]! }));
  const judged = await found.judge(choices.map(({ trial }) => trial));
  const results: ResultRecord["results"] = [];
  for (const [h, head] of heads.entries()) {
    const choice = choices[h]!;
    const bySeed = judged[h]!;
    results.push(layerResult({ run, head, trials: trials[h]!, choice, bySeed, outcomes: found.outcomes[h]! }));
    if (!writer) continue;
    const place = { layer: head.layer, head: head.name };
    await writePredictions(run, writer, place, bySeed);
    const weights = await found.weights({ seed: 0, head: h, trial: choice.trial });
    const activation = run.loss.kind === "binary_cross_entropy" ? "sigmoid" : "softmax";
    const dir = writer.headFolder(place);
    await exportHead({ dir, head: found.specOf(h, choice.trial), weights, classes: run.classes, activation });
  }
  return results;
}

async function writePredictions(
  { plan, classes, settings }: LinearRun,
  writer: ResultWriter,
  place: { layer: string; head: string },
  bySeed: Judgement[],
): Promise<void> {
  const { source, rows } = plan.report;
  const images = { ids: Array.from(rows, (row) => source.ids[row]!), targets: targetsOf(source, rows) };
  const of = <K extends Judgement["kind"]>(kind: K) =>
    bySeed.flatMap((judgement, s) =>
      judgement.kind === kind
        ? [{ ...images, ...(judgement as Extract<Judgement, { kind: K }>), seed: settings.seeds[s]! }]
        : [],
    );
  const [single, multi] = [of("single"), of("multi")];
  if (single.length > 0) await writer.predictions({ ...place, classes, seeds: single });
  else await writer.scores({ ...place, classes, seeds: multi });
}

const settingNames = [
  ...Object.keys(linearDefaults),
  ...["headWidth", "search", "trials", "searchSeed", "labelSmoothing", "selectOn", "reportOn"],
] as (keyof LinearProtocol)[];

function settingsOf(options: EvalLinearOptions): LinearProtocol {
  const given = settingNames.map((name) => [name, options[name]] as const).filter(([, value]) => value !== undefined);
  const wanted = Object.fromEntries(given) as Partial<LinearProtocol>;
  const { epochs = linearDefaults.epochs } = wanted;
  return { ...linearDefaults, schedule: visslSchedule(epochs), ...wanted };
}
