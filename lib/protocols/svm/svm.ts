import fs from "node:fs/promises";
import path from "node:path";

import { ensureBackend } from "../../backend/backend.js";
import { didYouMean, expected } from "../../errors.js";
import type { FeatureSet } from "../../features/feature-set.js";
import type { FeatureLayer } from "../../features/source.js";
import { digestOf } from "../../files.js";
import type { Progress } from "../../progress.js";
import type { ResultRecord } from "../../results/record.js";
import { openRunFolder, writeRecord } from "../../results/run-folder.js";
import { svmCosts } from "../../svm/costs.js";
import { planSplits, type SplitPlan } from "../splits.js";
import { classLabels, labelledRows, type ClassLabels } from "./labels.js";
import { evaluateLayer, type LayerSvms } from "./layer.js";
import { svmDefaults, type SvmProtocol } from "./protocol.js";
import { svmProtocol, svmRecord } from "./record.js";

export interface TrainSvmOptions extends Partial<SvmProtocol> {
  features: FeatureSet;
  /** Names of the features' layers. Default: all. */
  layers?: string[];
  /** Folder of the results; nothing is written where undefined. */
  out?: string;
  /** Further settings that the record should tell (where the features came from). */
  settings?: Record<string, unknown>;
  progress?: Progress;
  /** Stops soon; what is finished is kept in `out` and taken up by the next call. */
  signal?: AbortSignal;
}

/** What all parts of one run know. */
export interface SvmRun {
  features: FeatureSet;
  settings: SvmProtocol;
  /** The settings as the record tells them. */
  resolved: Record<string, unknown>;
  plan: SplitPlan;
  layers: FeatureLayer[];
  labels: ClassLabels[];
  /** In the order of the settings. */
  costs: number[];
  out?: string;
  /** Where finished units are kept. */
  folder?: string;
  /** Digest of all that a unit depends on. */
  key: string;
  progress?: Progress;
  signal?: AbortSignal;
}

/**
 * Trains linear SVMs on every layer of the features and tells the average precision of each class.
 *
 * @returns the record, which is also written to `out` with VISSL's files, models, tables, figures and predictions.
 * @throws UserError where a setting is wrong, a class has too few images, features are not finite or all equal, or
 * `out` holds another configuration.
 */
export async function trainSvm(options: TrainSvmOptions): Promise<ResultRecord> {
  const startedAt = new Date();
  const run = prepare(options);
  await ensureBackend();
  if (run.out !== undefined) await openRunFolder({ out: run.out, settings: run.resolved });
  const started = Date.now();
  const found: LayerSvms[] = [];
  for (const layer of run.layers) found.push(await evaluateLayer(run, layer));
  const record = svmRecord({ run, found, startedAt, trainSeconds: (Date.now() - started) / 1000 });
  if (run.out !== undefined) await writeRecord({ out: run.out, record });
  if (run.folder !== undefined) await fs.rm(run.folder, { recursive: true, force: true });
  return record;
}

function prepare(options: TrainSvmOptions): SvmRun {
  const { features, out, progress, signal } = options;
  const settings = svmSettingsOf(options);
  const costs = svmCosts(settings);
  const { positiveWeight, tolerance } = settings;
  for (const [name, value] of Object.entries({ positiveWeight, tolerance })) {
    if (!(value > 0 && Number.isFinite(value))) throw expected("a number above 0", name, value);
  }
  const split = planSplits({ ...settings, splits: features.splits, valFraction: 0, choice: false });
  const plan = { ...split, train: { ...split.train, rows: labelledRows(split.train) } };
  const labels = classLabels({
    classes: features.classes,
    wanted: settings.classes,
    train: plan.train,
    test: plan.report,
    folds: settings.folds,
    ignored: settings.ignoredInTraining,
  });
  const layers = svmLayers(plan.train.source.layers, options.layers);
  const resolved = { ...settings, ...options.settings, layers: layers.map(({ name }) => name) };
  return {
    features,
    settings,
    resolved,
    plan,
    layers,
    labels,
    costs,
    out,
    folder: out === undefined ? undefined : path.join(out, "training"),
    key: digestOf({ protocol: svmProtocol, settings: resolved, origin: plan.train.source.origin }),
    progress,
    signal,
  };
}

/** @throws UserError where there is no such layer. */
export function svmLayers(layers: FeatureLayer[], names = layers.map(({ name }) => name)): FeatureLayer[] {
  const known = layers.map(({ name }) => name);
  if (names.length === 0) throw expected("at least one", "the layers", names);
  return names.map((name) => {
    const layer = layers.find((one) => one.name === name);
    if (!layer) throw expected("a layer of the features", "the layers", name, didYouMean(name, known));
    return layer;
  });
}

const settingNames = [...Object.keys(svmDefaults), "costBase", "costPowers", "classes"] as (keyof SvmProtocol)[];

/** What is given, and VISSL's settings for what is not. */
export function svmSettingsOf(options: TrainSvmOptions): SvmProtocol {
  const given = settingNames.map((name) => [name, options[name]] as const).filter(([, value]) => value !== undefined);
  return { ...svmDefaults, ...(Object.fromEntries(given) as Partial<SvmProtocol>) };
}
