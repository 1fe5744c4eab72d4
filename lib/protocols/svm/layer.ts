import * as tf from "@tensorflow/tfjs";

import type { FeatureLayer } from "../../features/source.js";
import { allPointsAveragePrecision, elevenPointAveragePrecision } from "../../metrics/average-precision.js";
import { silent } from "../../progress.js";
import type { SvmSolver } from "../../svm/problem.js";
import type { SvmRun } from "./svm.js";
import { writeLayerFiles } from "./files.js";
import { layerBlocks, layerRows } from "./rows.js";
import { openSolvers } from "./solvers.js";
import { savedUnit, saveUnit, solveUnit, unitsOf, type SolvedClass, type SolvedUnit, type SvmUnit } from "./unit.js";

/** One class of a layer at the cost that was chosen for it. */
export interface ClassSvm extends SolvedClass {
  /** Position of the chosen cost among the costs of the run. */
  chosen: number;
  /** Decision value of each reported image. Shape [images]. */
  scores: Float32Array;
  /** On the reported images: area under all points, and mean of eleven. */
  ap: number;
  ap11: number;
}

/** What became of one layer. */
export interface LayerSvms {
  layer: FeatureLayer;
  classes: ClassSvm[];
  /** Images whose features are all zero. */
  zeroRows: { train: number; test: number };
}

/** Trains the SVMs of a layer, unit by unit, and tells what the chosen ones say of the reported images. */
export async function evaluateLayer(run: SvmRun, layer: FeatureLayer): Promise<LayerSvms> {
  const { progress = silent } = run;
  const units = await solveUnits(run, layer);
  const solved = units.flatMap(({ classes }) => classes.map((one) => ({ ...one, chosen: firstHighest(one.crossval) })));
  const { scores, zeroRows } = await decisions(run, layer, solved);
  const zeros = { train: units[0]!.zeroRows, test: zeroRows };
  if (zeros.train + zeros.test > 0) progress.note(`${layer.name}: ${zeroRowsText(zeros)}`);
  const found: LayerSvms = {
    layer,
    classes: solved.map((one, c) => {
      const judged = { scores: scores[c]!, targets: run.labels[c]!.test };
      return { ...one, ...judged, ap: allPointsAveragePrecision(judged), ap11: elevenPointAveragePrecision(judged) };
    }),
    zeroRows: zeros,
  };
  await writeLayerFiles(run, found);
  return found;
}

export function zeroRowsText({ train, test }: LayerSvms["zeroRows"]): string {
  return `${train} training and ${test} test images have features of zeros alone, which no normalization changes`;
}

async function solveUnits(run: SvmRun, layer: FeatureLayer): Promise<SolvedUnit[]> {
  const { progress = silent, costs, settings, signal } = run;
  const { name, width } = layer;
  const problemsOf = ({ classes }: SvmUnit) => classes.length * (settings.folds + 1) * costs.length;
  const units = unitsOf(run, { layer: name, width });
  const problems = units.reduce((sum, unit) => sum + problemsOf(unit), 0);
  const solved = new Map<SvmUnit, SolvedUnit>();
  const task = progress.task({ label: `train ${name}`, total: problems, unit: "SVMs" });
  let open: { solvers: SvmSolver[]; zeroRows: number } | undefined;
  try {
    for (const unit of units) {
      const saved = await savedUnit(run, unit);
      if (!saved) continue;
      task.advance(problemsOf(unit));
      solved.set(unit, saved);
    }
    const left = units.filter((unit) => !solved.has(unit));
    if (left.length > 0) {
      const work = { units: units.length, left: left.length, problems };
      const { solvers, zeroRows } = (open = await openLayer(run, layer, work));
      await Promise.all(
        solvers.map(async (solver) => {
          for (let unit = left.shift(); unit; unit = left.shift()) {
            signal?.throwIfAborted();
            const found = { classes: await solveUnit({ run, unit, solver, task }), zeroRows };
            await saveUnit(run, unit, found);
            solved.set(unit, found);
          }
        }),
      );
    }
    return units.map((unit) => solved.get(unit)!);
  } finally {
    task.end();
    open?.solvers.forEach((solver) => solver.dispose());
  }
}

/** Solvers on the training rows of a layer: one here, or some in processes of their own. */
async function openLayer(
  { plan, settings, signal }: SvmRun,
  { name, width }: FeatureLayer,
  work: { units: number; left: number; problems: number },
): Promise<{ solvers: SvmSolver[]; zeroRows: number }> {
  const { loss, positiveWeight, tolerance, normalize } = settings;
  const { zeros, ...rows } = await layerRows({ part: plan.train, layer: name, width, normalize, signal });
  const objective = { loss, positiveWeight, tolerance };
  return { solvers: await openSolvers({ rows, objective, ...work }), zeroRows: zeros };
}

/** The first of equal ones, as NumPy's argmax. */
function firstHighest(values: number[]): number {
  return values.indexOf(Math.max(...values));
}

/** w·x + b of each reported image, for the chosen SVM of each class. */
async function decisions(
  run: SvmRun,
  { name, width }: FeatureLayer,
  solved: (SolvedClass & { chosen: number })[],
): Promise<{ scores: Float32Array[]; zeroRows: number }> {
  const { plan, settings, signal } = run;
  const part = plan.report;
  const classes = solved.length;
  const scores = solved.map(() => new Float32Array(part.rows.length));
  const { weights, biases } = chosenMatrix(solved, width);
  const matrix = tf.tensor2d(weights, [width, classes]);
  let zeroRows = 0;
  let at = 0;
  try {
    for await (const block of layerBlocks({ part, layer: name, normalize: settings.normalize, signal })) {
      const { data, count, zeros } = block;
      const product = tf.tidy(() => tf.matMul(tf.tensor2d(data, [count, width]), matrix));
      const values = await product.data();
      product.dispose();
      for (let i = 0; i < count; i++) {
        for (let c = 0; c < classes; c++) scores[c]![at + i] = values[i * classes + c]! + biases[c]!;
      }
      at += count;
      zeroRows += zeros;
    }
  } finally {
    matrix.dispose();
  }
  return { scores, zeroRows };
}

/** The chosen SVMs side by side: weights [width, classes], row by row, and biases [classes]. */
export function chosenMatrix(
  solved: (SolvedClass & { chosen: number })[],
  width: number,
): { weights: Float32Array; biases: Float32Array } {
  const classes = solved.length;
  const weights = new Float32Array(width * classes);
  solved.forEach((one, c) => one.weights[one.chosen]!.forEach((value, i) => (weights[i * classes + c] = value)));
  return { weights, biases: Float32Array.from(solved, (one) => one.biases[one.chosen]!) };
}
