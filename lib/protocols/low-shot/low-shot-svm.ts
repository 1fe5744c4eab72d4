import fs from "node:fs/promises";
import path from "node:path";

import { ensureBackend } from "../../backend/backend.js";
import type { Targets } from "../../datasets/dataset.js";
import { expected, UserError } from "../../errors.js";
import type { FeatureSet } from "../../features/feature-set.js";
import type { FeatureLayer } from "../../features/source.js";
import { digestOf } from "../../files.js";
import type { Progress } from "../../progress.js";
import { silent } from "../../progress.js";
import type { ResultRecord } from "../../results/record.js";
import { openRunFolder, writeRecord } from "../../results/run-folder.js";
import { svmCosts } from "../../svm/costs.js";
import { mostShots } from "./draw.js";
import { writeLowShotFiles } from "./files.js";
import { evaluateShots, type LayerShots } from "./layer.js";
import { lowShotProtocol, lowShotRecord } from "./record.js";
import { planSplits, targetsOf, type SplitPlan } from "../splits.js";
import { svmLayers, svmSettingsOf, type TrainSvmOptions } from "../svm/svm.js";
import { lowShotDefaults, type LowShotProtocol } from "../svm/protocol.js";
import { checkLabels, labelsOf, refuseUntested, wantedClasses } from "../svm/labels.js";

export interface TrainLowShotSvmOptions extends Omit<TrainSvmOptions, "ignoredInTraining">, Partial<LowShotProtocol> {
  /** Folder of `{layer}_sample{s}_k{k}.npy`, where the images have been drawn before. Default: they are drawn. */
  lowShotTargets?: string;
}

/** A class that is trained. */
export interface TestedClass {
  /** Its number among all classes of the data. */
  index: number;
  name: string;
  /** Of each reported row: 1 present, 0 absent, −1 ignored. */
  test: Int8Array;
}

/** What all parts of one run know. */
export interface LowShotRun {
  features: FeatureSet;
  settings: LowShotProtocol;
  /** The settings as the record tells them. */
  resolved: Record<string, unknown>;
  plan: SplitPlan;
  /** Labels of the training images. */
  targets: Targets;
  layers: FeatureLayer[];
  classes: TestedClass[];
  /** Names of all classes of the data. */
  classNames: string[];
  /** In the order of the settings. */
  costs: number[];
  /** Those that every class has images for. */
  ks: number[];
  /** Told where a k was left out. */
  notes: string[];
  /** Where the images have been drawn before. */
  drawn?: string;
  out?: string;
  /** Where finished units are kept. */
  folder?: string;
  /** Digest of all that a unit depends on. */
  key: string;
  progress: Progress;
  signal?: AbortSignal;
}

/**
 * Trains low-shot SVMs on every layer of the features and tells the mean average precision for each k.
 *
 * @returns the record, which is also written to `out` with VISSL's files, tables and figures. Its seeds are the numbers
 * of the samples; each layer has an entry for each k, whose head is `svm_k<k>`.
 * @throws UserError where a setting is wrong, no k has enough images, features are not finite or all equal, or `out`
 * holds another configuration.
 */
export async function trainLowShotSvm(options: TrainLowShotSvmOptions): Promise<ResultRecord> {
  const startedAt = new Date();
  const run = prepare(options);
  for (const note of run.notes) run.progress.note(note);
  await ensureBackend();
  if (run.out !== undefined) await openRunFolder({ out: run.out, settings: run.resolved });
  const started = Date.now();
  const found: LayerShots[] = [];
  for (const layer of run.layers) {
    const shots = await evaluateShots(run, layer);
    await writeLowShotFiles(run, shots);
    found.push(shots);
  }
  const record = lowShotRecord({ run, found, startedAt, trainSeconds: (Date.now() - started) / 1000 });
  if (run.out !== undefined) await writeRecord({ out: run.out, record });
  if (run.folder !== undefined) await fs.rm(run.folder, { recursive: true, force: true });
  return record;
}

function prepare(options: TrainLowShotSvmOptions): LowShotRun {
  const { features, out, lowShotTargets: drawn, progress = silent, signal } = options;
  const { ignoredInTraining: _, ...shared } = svmSettingsOf(options);
  const { lowShot = lowShotDefaults.lowShot, samples = lowShotDefaults.samples } = options;
  const settings = { ...shared, lowShot, samples };
  const costs = svmCosts(settings);
  checkCounts(settings);
  const plan = planSplits({ ...settings, splits: features.splits, valFraction: 0, choice: false });
  const { classes: names } = features;
  for (const [part, name] of [[plan.train, "training"], [plan.report, "test"]] as const) checkLabels(part, names, name); // prettier-ignore
  const classes = wantedClasses(names, settings.classes).map((index): TestedClass => {
    return { index, name: names[index]!, test: labelsOf(plan.report, index) };
  });
  refuseUntested(classes);
  const targets = targetsOf(plan.train.source.targets, plan.train.rows);
  const { ks, notes } = possible(lowShot, { targets, names, drawn });
  const layers = svmLayers(plan.train.source.layers, options.layers);
  const resolved = { ...settings, ...options.settings, layers: layers.map(({ name }) => name) };
  return {
    features,
    settings,
    resolved,
    plan,
    targets,
    layers,
    classes,
    classNames: names,
    costs,
    ks,
    notes,
    drawn,
    out,
    folder: out === undefined ? undefined : path.join(out, "training"),
    key: digestOf({ protocol: lowShotProtocol, settings: resolved, drawn, origin: plan.train.source.origin }),
    progress,
    signal,
  };
}

function checkCounts({ lowShot, samples }: Pick<LowShotProtocol, "lowShot" | "samples">): void {
  const isCount = (value: number) => Number.isSafeInteger(value) && value >= 1;
  if (lowShot.length === 0 || !lowShot.every(isCount) || new Set(lowShot).size < lowShot.length) {
    throw expected("whole numbers from 1, each once,", "--low-shot", lowShot);
  }
  if (!isCount(samples)) throw expected("a whole number from 1", "--samples", samples);
}

/** Without those k for which some class has too few images. */
function possible(
  wanted: number[],
  { targets, names, drawn }: { targets: Targets; names: string[]; drawn?: string },
): Pick<LowShotRun, "ks" | "notes"> {
  // What was drawn before has been possible.
  if (drawn !== undefined) return { ks: wanted, notes: [] };
  const most = mostShots(targets, names);
  const ks = wanted.filter((k) => k <= most.k);
  if (ks.length === 0) {
    throw new UserError(
      `Expected at least ${Math.min(...wanted)} training images of every class, and as many as --low-shot needs without it, but ${most.class} allows ${most.k}`,
      { hint: "Take a smaller k." },
    );
  }
  const left = wanted.filter((k) => k > most.k);
  if (left.length === 0) return { ks, notes: [] };
  return { ks, notes: [`Left out: k = ${left.join(", ")}, for the images of ${most.class} allow ${most.k}.`] };
}
