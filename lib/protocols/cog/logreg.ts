import fs from "node:fs/promises";
import path from "node:path";

import { ensureBackend } from "../../backend/backend.js";
import { didYouMean, expected } from "../../errors.js";
import type { FeatureSet } from "../../features/feature-set.js";
import type { FeatureLayer } from "../../features/source.js";
import { digestOf, exists, readJson, writeJson } from "../../files.js";
import { withLock } from "../../lock.js";
import { type Progress, silent } from "../../progress.js";
import { writePredictions } from "../../results/predictions.js";
import { readRecord, type ResultRecord } from "../../results/record.js";
import { openRunFolder, writeRecord } from "../../results/run-folder.js";
import { fileNameOf, layerFileName } from "../../results/wording.js";
import { targetsOf } from "../../training/passes.js";
import { planSplits, type SplitPlan } from "../splits.js";
import { lbfgsMethod, penaltiesOf } from "./lbfgs.js";
import type { LogregFit, LogregMethod, LogregTask } from "./method.js";
import { notesOf, partsOf } from "./parts.js";
import { type LogregMethodName, type LogregProtocol, logregProtocolOf } from "./protocol.js";
import { headName, logregProtocol, logregRecord } from "./record.js";
import { sgdMethod } from "./sgd.js";

export interface EvalLogregOptions extends Partial<LogregProtocol> {
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
export interface LogregRun {
  features: FeatureSet;
  settings: LogregProtocol;
  /** The settings as the record tells them. */
  resolved: Record<string, unknown>;
  plan: SplitPlan;
  layers: FeatureLayer[];
  out?: string;
  key: string;
  /** What a reader of every number should know whose setting was chosen. */
  notes: string[];
  progress: Progress;
  signal?: AbortSignal;
}

/** What they find of a layer stands side by side in the record. */
export const logregMethods: Record<LogregMethodName, LogregMethod> = { sgd: sgdMethod, lbfgs: lbfgsMethod };

/** What a method found of one layer, seed by seed. */
export interface FoundLogreg {
  layer: FeatureLayer;
  method: LogregMethod;
  fits: SeedFit[];
}

/** What is kept of one layer and seed. */
export type SeedFit = Omit<LogregFit, "weights" | "answers" | "epochs"> & {
  seed: number;
  /** Images of the last training. */
  images: number;
  /** Of the images that are reported. */
  answers: { predicted: number[]; probability: number[] };
};

/**
 * ImageNet-CoG's logistic regression on every layer of the features: settings searched on held-out training images, one
 * training on all, several seeds.
 *
 * @returns the record, which is also written to `out` with CoG's files, tables and figures.
 * @throws UserError where a setting is wrong, images have several labels, a class has fewer images than shots, every
 * setting diverges, or `out` holds another configuration.
 */
export async function evalLogreg(options: EvalLogregOptions): Promise<ResultRecord> {
  const run = prepare(options);
  const { out, notes, progress, signal } = run;
  for (const note of notes) progress.note(note);
  await ensureBackend();
  if (out === undefined) return evaluate(run);
  // Two writers would spoil the journal of a search.
  const waiting = (holder: string) => progress.note(`waits for ${holder}, which works in ${out}`);
  return withLock({ file: path.join(out, "lock"), waiting, signal }, () => evaluate(run));
}

async function evaluate(run: LogregRun): Promise<ResultRecord> {
  const startedAt = new Date();
  if (run.out !== undefined) {
    await openRunFolder({ out: run.out, settings: run.resolved });
    const finished = await finishedRecord(run.out, run.features);
    if (finished) return finished;
  }
  const started = Date.now();
  const found: FoundLogreg[] = [];
  const methods = run.settings.methods.map((name) => logregMethods[name]);
  for (const layer of run.layers) {
    const own = methods.map((method): FoundLogreg => ({ layer, method, fits: [] }));
    for (const seed of run.settings.seeds) {
      for (const { method, fits } of own) fits.push(await seedFit({ run, layer, method, seed }));
    }
    found.push(...own);
  }
  const record = logregRecord({ run, found, startedAt, trainSeconds: (Date.now() - started) / 1000 });
  if (run.out !== undefined) {
    for (const one of found) await writeAnswers(run.out, run, one);
    await writeRecord({ out: run.out, record });
    await fs.rm(path.join(run.out, "training"), { recursive: true, force: true });
  }
  return record;
}

/**
 * The record of a run that is finished in `out`, undefined where there is something to do.
 *
 * @throws UserError as `evalLogreg`, where settings are wrong or `out` holds another configuration.
 */
export async function finishedLogreg(options: EvalLogregOptions & { out: string }): Promise<ResultRecord | undefined> {
  const { out, features } = options;
  await openRunFolder({ out, settings: prepare(options).resolved });
  return finishedRecord(out, features);
}

/** What a run of these settings found before, of the same images. */
async function finishedRecord(out: string, { data }: FeatureSet): Promise<ResultRecord | undefined> {
  if (!(await exists(path.join(out, "result.json")))) return undefined;
  const record = await readRecord(out);
  const same = record.data.digest === data.digest && digestOf(record.protocol) === digestOf(logregProtocol);
  return same ? record : undefined;
}

function prepare(options: EvalLogregOptions): LogregRun {
  const { features, out, progress = silent, signal } = options;
  const settings = logregProtocolOf(options);
  checkSettings(settings);
  const plan = planSplits({ ...settings, splits: features.splits, valFraction: 0, splitSeed: 0, choice: false });
  const known = plan.train.source.layers;
  const layers = (options.layers ?? known.map(({ name }) => name)).map((name) => {
    const layer = known.find((one) => one.name === name);
    if (layer) return layer;
    const names = known.map((one) => one.name);
    throw expected("a layer of the features", "the layers", name, didYouMean(name, names));
  });
  const resolved = { ...settings, ...options.settings, layers: layers.map(({ name }) => name) };
  return {
    features,
    settings,
    resolved,
    plan,
    layers,
    out,
    key: digestOf({ protocol: logregProtocol, settings: resolved, origin: plan.train.source.origin }),
    notes: notesOf(settings),
    progress,
    signal,
  };
}

function checkSettings(settings: LogregProtocol): void {
  const { seeds, shots, trials, epochs, batchSize, valFraction, methods, asPublished } = settings;
  const isCount = (value: number) => Number.isSafeInteger(value) && value >= 1;
  if (seeds.length === 0 || new Set(seeds).size < seeds.length) throw expected("seeds, each once,", "--seeds", seeds);
  for (const [flag, value] of Object.entries({ shots, trials, epochs, "batch-size": batchSize })) {
    if (value !== undefined && !isCount(value)) throw expected("a whole number from 1", `--${flag}`, value);
  }
  if (methods.length === 0) throw expected("sgd, lbfgs or both", "--methods", methods);
  if (asPublished && methods.includes("lbfgs")) {
    throw expected("sgd alone", "--methods with --as-published", methods, "CoG knows no other method.");
  }
  for (const penalty of penaltiesOf(settings)) {
    if (!(penalty > 0)) throw expected("numbers above 0", "--penalties", penalty);
  }
  if (!(valFraction > 0 && valFraction < 1)) throw expected("a number in (0, 1)", "--val-fraction", valFraction);
}

async function seedFit(options: {
  run: LogregRun;
  layer: FeatureLayer;
  method: LogregMethod;
  seed: number;
}): Promise<SeedFit> {
  const { run, layer, method, seed } = options;
  const { out, settings, features, progress, signal } = run;
  const key = digestOf([run.key, layer.name, method.head, seed]);
  const name = `${fileNameOf({ layer: layer.name, head: method.head })}.seed${seed}.json`;
  const unit = out === undefined ? undefined : path.join(out, "training", name);
  const saved = unit && (await savedFit(unit, key));
  if (saved) return saved;
  signal?.throwIfAborted();
  const parts = partsOf({ ...run, seed, classes: features.classes });
  const folder = out === undefined ? undefined : path.join(out, ...inFolder(run, layer, method), `seed_${seed}`);
  if (folder !== undefined) await fs.mkdir(folder, { recursive: true });
  const task: LogregTask = {
    layer,
    classes: features.classes.length,
    seed,
    settings,
    ...parts,
    folder,
    key,
    progress,
    signal,
  };
  const fit = await method.fit(task);
  if (folder !== undefined) await method.write({ folder, task, fit });
  const { weights: _, epochs: __, answers: given, ...kept } = fit;
  const answers = { predicted: Array.from(given.predicted), probability: Array.from(given.probability) };
  const result: SeedFit = { ...kept, answers, seed, images: parts.train.rows.length };
  if (unit !== undefined) await writeJson(unit, { key, result });
  return result;
}

/** What was said of each reported image, for paired tests between runs. */
async function writeAnswers(out: string, run: LogregRun, { layer, method, fits }: FoundLogreg): Promise<void> {
  const { source, rows } = run.plan.report;
  const name = fileNameOf({ layer: layer.name, head: headName(method, run.settings) });
  const ids = Array.from(rows, (row) => source.ids[row]!);
  const targets = targetsOf(source, rows);
  await fs.mkdir(path.join(out, "predictions"), { recursive: true });
  await writePredictions({
    file: path.join(out, "predictions", `${name}.csv`),
    classes: run.features.classes,
    seeds: fits.map(({ seed, answers }) => ({ seed, ids, targets, ...answers })),
  });
}

/** CoG knows one layer and one method; where there are several layers, each has a folder, as other methods have. */
function inFolder({ layers }: LogregRun, { name }: FeatureLayer, method: LogregMethod): string[] {
  return [...(layers.length === 1 ? [] : [layerFileName(name)]), ...(method === sgdMethod ? [] : [method.head])];
}

async function savedFit(file: string, key: string): Promise<SeedFit | undefined> {
  if (!(await exists(file))) return undefined;
  const saved = (await readJson(file, "a finished part of this run")) as { key: string; result: SeedFit };
  return saved.key === key ? saved.result : undefined;
}
