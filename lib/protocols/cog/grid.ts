import fs from "node:fs/promises";
import path from "node:path";

import { expected, UserError } from "../../errors.js";
import { featuresFolder } from "../../features/model-name.js";
import type { FeatureSet } from "../../features/feature-set.js";
import { openFeatures } from "../../features/open-features.js";
import { exists } from "../../files.js";
import { type Progress, silent } from "../../progress.js";
import { writeLevels } from "../../results/level-files.js";
import type { LevelResult } from "../../results/levels.js";
import { readRecord, type ResultRecord } from "../../results/record.js";
import { trainingSeconds } from "./cost.js";
import { evalLogreg, type EvalLogregOptions, logregMethods } from "./logreg.js";
import { type LogregMethodName, type LogregProtocol, logregProtocolOf } from "./protocol.js";
import { headName } from "./record.js";

/** A model, by the name that tables show and by its folders. */
export interface GridModel {
  name: string;
  title: string;
  arch: string;
}

export interface GridOptions {
  models: GridModel[];
  /** `in1k`, `l1` … `l5`, or names of data sets, as the folders of features have them. */
  levels: string[];
  /** Images of each class; `all` for all. */
  shots: (number | "all")[];
  /** Where features are: `<title>/<arch>/<dataset>` below it. */
  featuresRoot: string;
  /** Which layer is evaluated. Default: the last. */
  layer?: string;
  /** Of every run. Default: CoG's settings. */
  protocol?: Partial<Omit<LogregProtocol, "shots">>;
  /** Whose numbers are shown, of the protocol's methods. Default: the first's. */
  show?: LogregMethodName;
  /** Folder of all runs; each has its own in it, that of `eval-logreg`. */
  out: string;
  /** How runs are done that are not finished, e.g. as jobs of a cluster. Default: here, one after another. */
  execute?: (runs: GridRun[]) => Promise<void>;
  progress?: Progress;
  /** Stops soon; the next call goes on. */
  signal?: AbortSignal;
}

/** One run of `eval-logreg`: all seeds of a model, a level and a number of shots. */
export interface GridRun {
  model: GridModel;
  level: string;
  shots?: number;
  /** Folder of the features. */
  features: string;
  out: string;
}

export interface GridPlan {
  runs: GridRun[];
  /** Those that are not finished. */
  missing: GridRun[];
  /** Of each run; every one is a search and a training. */
  seeds: number;
  /** That the missing ones take here, about, one after another. */
  seconds: number;
}

/** ImageNet-CoG's grid: models × levels × shots, in this order. */
export function gridRuns({ models, levels, shots, featuresRoot, out }: GridOptions): GridRun[] {
  return models.flatMap((model) =>
    levels.flatMap((level) =>
      shots.map((count) => {
        const place = { title: model.title, arch: model.arch, dataset: datasetOf(level) };
        const protocol = count === "all" ? "eval_logreg" : `eval_logreg-N${count}`;
        return {
          model,
          level,
          ...(count !== "all" && { shots: count }),
          features: featuresFolder({ root: featuresRoot, ...place }),
          out: path.join(featuresFolder({ root: out, ...place }), protocol),
        };
      }),
    ),
  );
}

/** `l3` is short for CoG's name of the data set. */
function datasetOf(level: string): string {
  return /^l\d+$/.test(level) ? `cog_${level}` : level;
}

/**
 * What there is to do, and how long it takes, by measured steps.
 *
 * @throws UserError where features are missing.
 */
export async function planGrid(options: GridOptions): Promise<GridPlan> {
  const runs = gridRuns(options);
  await checkFeatures(runs);
  const protocol = logregProtocolOf(options.protocol ?? {});
  shownMethod(options);
  const { seeds } = protocol;
  const missing: GridRun[] = [];
  for (const run of runs) if (!(await exists(path.join(run.out, "result.json")))) missing.push(run);
  const measured = new Map<string, number>();
  let seconds = 0;
  for (const run of missing) {
    const features = await openFeatures({ spec: run.features });
    try {
      const { layers, size } = (features.splits.train ?? features.splits.all)!;
      const work = {
        width: layers.at(-1)!.width,
        classes: features.classes.length,
        images: run.shots === undefined ? size : Math.min(size, run.shots * features.classes.length),
      };
      const key = JSON.stringify(work);
      const known = measured.get(key) ?? (await trainingSeconds({ ...work, protocol }));
      measured.set(key, known);
      seconds += seeds.length * known;
    } finally {
      await features.close();
    }
  }
  return { runs, missing, seeds: seeds.length, seconds };
}

/**
 * Does what is missing of the grid, and writes its tables and figures to `out`.
 *
 * @throws UserError where features are missing, or a run's folder holds another configuration.
 */
export async function runGrid(options: GridOptions): Promise<LevelResult[]> {
  const { out, execute = (some: GridRun[]) => runHere(some, options) } = options;
  const shown = shownMethod(options);
  const runs = gridRuns(options);
  await checkFeatures(runs);
  await execute(runs);
  const results: LevelResult[] = [];
  for (const run of runs) results.push(resultOf(run, await readRecord(run.out), shown));
  await writeLevels({ out, results });
  return results;
}

/** What a run is called, for people. */
export function nameOfRun({ model, level, shots }: GridRun): string {
  return `${model.name} on ${level}, ${shots === undefined ? "all images" : `${shots} of each class`}`;
}

/** A finished run is read again, not done again. */
async function runHere(runs: GridRun[], options: GridOptions): Promise<void> {
  const { progress = silent, signal } = options;
  for (const [i, run] of runs.entries()) {
    signal?.throwIfAborted();
    progress.note(`run ${i + 1} of ${runs.length}: ${nameOfRun(run)}`);
    await withFeatures(run, options, evalLogreg);
  }
}

/** Works with what `evalLogreg` is given for a run, while its features are open. */
export async function withFeatures<T>(
  { features: spec, shots, out }: GridRun,
  { layer, protocol, progress, signal }: GridOptions,
  work: (options: EvalLogregOptions & { layers: string[]; out: string }) => Promise<T>,
): Promise<T> {
  const features = await openFeatures({ spec, ...(layer !== undefined && { layers: [layer] }) });
  try {
    const layers = [layer ?? lastLayer(features)];
    return await work({ ...protocol, features, shots, out, layers, settings: { features: spec }, progress, signal });
  } finally {
    await features.close();
  }
}

/** The name of the features' last layer, in the order of the network. */
export function lastLayer({ splits }: FeatureSet): string {
  return (splits.train ?? splits.all)!.layers.at(-1)!.name;
}

async function checkFeatures(runs: GridRun[]): Promise<void> {
  if (runs.length === 0) throw expected("at least one model, level and number of shots", "the grid", runs);
  const folders = [...new Set(runs.map(({ features }) => features))];
  const lacking: string[] = [];
  for (const folder of folders) {
    const names = await fs.readdir(folder).catch(() => []);
    if (!names.some((name) => name.startsWith("features_"))) lacking.push(folder);
  }
  if (lacking.length === 0) return;
  const others = lacking.length > 1 ? `, nor in ${lacking.length - 1} other folders` : "";
  const { model, level } = runs.find(({ features }) => features === lacking[0])!;
  throw new UserError(`Expected features of ${model.name} on ${level} in ${lacking[0]} but there are none${others}`, {
    hint:
      `npx frozen-eval extract-features --backbone models/${model.title}/${model.arch} --data ${datasetOf(level)}:DIR` +
      " makes them; or name another folder with --features-root.",
  });
}

function shownMethod({ show, protocol = {} }: GridOptions): LogregMethodName {
  const { methods } = logregProtocolOf(protocol);
  const shown = show ?? methods[0]!;
  if (!methods.includes(shown)) throw expected(`one of --methods (${methods.join(", ")})`, "--show", shown);
  return shown;
}

function resultOf({ model, level, shots }: GridRun, record: ResultRecord, shown: LogregMethodName): LevelResult {
  const { results, seeds } = record;
  const method = logregMethods[shown];
  const { metrics, logreg } = results.find(({ head }) => head === headName(method, { shots }))!;
  return {
    model: model.name,
    level,
    shots: shots ?? null,
    seeds,
    head: method.head,
    top1: metrics.top1!,
    ...(metrics.top5 && { top5: metrics.top5 }),
    chosen: logreg!.seeds.map(({ chosen }) => chosen),
  };
}
