import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import type { Targets } from "../../datasets/dataset.js";
import { UserError } from "../../errors.js";
import type { FeatureLayer } from "../../features/source.js";
import { digestOf, exists, readJson, writeFileAtomic, writeJson } from "../../files.js";
import { allPointsAveragePrecision } from "../../metrics/average-precision.js";
import type { ProgressTask } from "../../progress.js";
import { layerFileName } from "../../results/wording.js";
import { openSvmSolver } from "../../svm/solver.js";
import { drawShots, encodeShots, readShots, shotFile, type Shot } from "./draw.js";
import type { LowShotRun } from "./low-shot-svm.js";
import { countOf, foldsOf, type ClassLabels } from "../svm/labels.js";
import { layerBlocks, layerRows, type RowBlock } from "../svm/rows.js";
import { solveUnit, unitsOf, type SolvedClass } from "../svm/unit.js";

/** What came of one small training set; lists go by the costs in the order of the run. */
export interface ShotResult extends Shot {
  /** Images that were drawn. */
  images: number;
  /** Average precision on the reported images: for each cost the classes in their order. */
  testAp: number[][];
  /** Mean step-sum AP of the folds and classes; null where there are too few images for folds. */
  crossval: number[] | null;
  /** How far the worst solution is from its optimum at most, a part of the objective. */
  gap: number;
  converged: boolean;
}

/** What became of one layer: a result for each k and sample. */
export interface LayerShots {
  layer: FeatureLayer;
  shots: ShotResult[];
}

/** Trains and tests the SVMs of a layer, one small training set after another. */
export async function evaluateShots(run: LowShotRun, layer: FeatureLayer): Promise<LayerShots> {
  const { progress, ks, settings, signal } = run;
  const wanted = ks.flatMap((k) => Array.from({ length: settings.samples }, (_, i): Shot => ({ k, sample: i + 1 })));
  const task = progress.task({ label: `train ${layer.name}`, total: wanted.length, unit: "small training sets" });
  const shots: ShotResult[] = [];
  let test: RowBlock[] | undefined;
  try {
    for (const shot of wanted) {
      signal?.throwIfAborted();
      const saved = await savedShot(run, layer, shot);
      if (saved) {
        shots.push(saved);
      } else {
        test ??= await testRows(run, layer);
        shots.push(await evaluateShot({ run, layer, shot, test }));
      }
      task.advance(1, `k ${shot.k}`);
    }
  } finally {
    task.end();
  }
  return { layer, shots };
}

async function testRows({ plan, settings, signal }: LowShotRun, { name }: FeatureLayer): Promise<RowBlock[]> {
  const blocks: RowBlock[] = [];
  const { normalize } = settings;
  for await (const block of layerBlocks({ part: plan.report, layer: name, normalize, signal })) blocks.push(block);
  return blocks;
}

async function evaluateShot(options: {
  run: LowShotRun;
  layer: FeatureLayer;
  shot: Shot;
  test: RowBlock[];
}): Promise<ShotResult> {
  const { run, layer, shot, test } = options;
  const { plan, settings, costs, signal, out } = run;
  const { loss, positiveWeight, tolerance, normalize } = settings;
  const drawn = await shotsOf(run, layer, shot);
  if (out !== undefined) await writeFileAtomic(shotFile(out, layer.name, shot), encodeShots(drawn));
  const { labels, rows, folds } = problems(run, drawn, shot);
  const part = { source: plan.train.source, rows: rows.map((row) => plan.train.rows[row]!) };
  const known = await layerRows({ part, layer: layer.name, width: layer.width, normalize, signal });
  const solver = await openSvmSolver({ rows: known, objective: { loss, positiveWeight, tolerance } });
  const solved: SolvedClass[] = [];
  const testAp = costs.map((): number[] => []);
  try {
    const work = { labels, costs, settings: { folds }, signal };
    for (const unit of unitsOf(work, { layer: layer.name, width: layer.width })) {
      const found = await solveUnit({ run: work, unit, solver, task: quiet });
      const scores = await decisions({ solved: found, width: layer.width, blocks: test });
      unit.classes.forEach(({ test: targets }, c) => {
        costs.forEach((_, i) => testAp[i]!.push(allPointsAveragePrecision({ scores: scores[c]![i]!, targets })));
      });
      solved.push(...found.map((one) => ({ ...one, weights: [] })));
    }
  } finally {
    solver.dispose();
  }
  const result: ShotResult = {
    ...shot,
    images: rows.length,
    testAp,
    crossval: folds === 0 ? null : costs.map((_, i) => mean(solved.map(({ crossval }) => crossval[i]!))),
    gap: Math.max(...solved.flatMap(({ gaps }) => gaps.flat())),
    converged: solved.every(({ converged }) => converged),
  };
  await saveShot(run, layer, result);
  return result;
}

/** Pieces of one small training set are too little to be told. */
const quiet: ProgressTask = { advance: () => {}, end: () => {} };

async function shotsOf(run: LowShotRun, { name }: FeatureLayer, shot: Shot): Promise<Targets> {
  const { targets, classNames, drawn, settings } = run;
  if (drawn !== undefined) return readShots({ file: shotFile(drawn, name, shot), targets, classes: classNames });
  return drawShots({ targets, classes: classNames.length, shot, seed: settings.splitSeed });
}

/** The problems of one small training set, on the rows that take part in any of them. */
function problems(
  { classes, settings }: LowShotRun,
  drawn: Targets,
  { k, sample }: Shot,
): { labels: ClassLabels[]; rows: Uint32Array; folds: number } {
  const all = classes.map(({ index }) => sidesOf(drawn, index));
  const rows = Uint32Array.from(all[0]!.keys()).filter((row) => all.some((sides) => sides[row] !== 0));
  const least = Math.min(...all.flatMap((sides) => [countOf(sides, 1), countOf(sides, -1)]));
  if (least === 0) {
    const empty = classes[all.findIndex((sides) => countOf(sides, 1) === 0 || countOf(sides, -1) === 0)]!;
    throw new UserError(
      `Expected images with and without ${empty.name} in sample ${sample} of k = ${k} but there are none of one kind`,
    );
  }
  // Of one image nothing can be held out.
  const folds = least < 2 ? 0 : Math.min(settings.folds, least);
  const labels = classes.map(({ index, name, test }, c): ClassLabels => {
    const sides = Int8Array.from(rows, (row) => all[c]![row]!);
    return {
      index,
      name,
      sides,
      test,
      folds: folds === 0 ? new Int32Array(rows.length).fill(-1) : foldsOf(sides, folds),
    };
  });
  return { labels, rows, folds };
}

function sidesOf(drawn: Targets, index: number): Int8Array {
  if (drawn.kind === "single") {
    return Int8Array.from(drawn.labels, (label) => (label < 0 ? 0 : label === index ? 1 : -1));
  }
  const { labels, classes } = drawn;
  return Int8Array.from({ length: labels.length / classes }, (_, row) => {
    const label = labels[row * classes + index]!;
    return label < 0 ? 0 : label === 1 ? 1 : -1;
  });
}

/** w·x + b of each test row, by class and cost. */
async function decisions(options: {
  solved: SolvedClass[];
  width: number;
  blocks: RowBlock[];
}): Promise<Float32Array[][]> {
  const { solved, width, blocks } = options;
  const count = blocks.reduce((sum, block) => sum + block.count, 0);
  const columns = solved.flatMap(({ weights, biases }) => weights.map((w, i) => ({ w, b: biases[i]! })));
  const scores = columns.map(() => new Float32Array(count));
  const matrix = tf.tidy(() => {
    const rows = new Float32Array(columns.length * width);
    columns.forEach(({ w }, c) => rows.set(w, c * width));
    return tf.transpose(tf.tensor2d(rows, [columns.length, width]));
  });
  let at = 0;
  try {
    for (const block of blocks) {
      const product = tf.tidy(() => tf.matMul(tf.tensor2d(block.data, [block.count, width]), matrix));
      const values = await product.data();
      product.dispose();
      for (let i = 0; i < block.count; i++) {
        columns.forEach(({ b }, c) => (scores[c]![at + i] = values[i * columns.length + c]! + b));
      }
      at += block.count;
    }
  } finally {
    matrix.dispose();
  }
  let next = 0;
  return solved.map(({ weights }) => weights.map(() => scores[next++]!));
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** What an earlier run has finished. */
async function savedShot(run: LowShotRun, layer: FeatureLayer, shot: Shot): Promise<ShotResult | undefined> {
  const file = savedFile(run, layer, shot);
  if (file === undefined || !(await exists(file))) return undefined;
  const { key, result } = (await readJson(file, "a finished part of this run")) as { key: string; result: ShotResult };
  return key === shotKey(run, layer, shot) ? result : undefined;
}

async function saveShot(run: LowShotRun, layer: FeatureLayer, result: ShotResult): Promise<void> {
  const { k, sample } = result;
  const file = savedFile(run, layer, result);
  if (file !== undefined) await writeJson(file, { key: shotKey(run, layer, { k, sample }), result });
}

function savedFile({ folder }: LowShotRun, { name }: FeatureLayer, { k, sample }: Shot): string | undefined {
  return folder && path.join(folder, `${layerFileName(name)}.sample${sample}_k${k}.json`);
}

function shotKey({ key }: LowShotRun, { name }: FeatureLayer, shot: Shot): string {
  return digestOf({ state: 1, key, layer: name, shot: [shot.k, shot.sample] });
}
