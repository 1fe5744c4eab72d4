import path from "node:path";

import { readSafetensors, writeSafetensors } from "../../checkpoints/safetensors.js";
import { digestOf, exists } from "../../files.js";
import { stepAveragePrecision } from "../../metrics/average-precision.js";
import type { ProgressTask } from "../../progress.js";
import { layerFileName } from "../../results/wording.js";
import type { SvmProblem, SvmSolver } from "../../svm/problem.js";
import type { SvmRun } from "./svm.js";
import type { ClassLabels } from "./labels.js";

/**
 * A piece of the work that is done or not: some classes of one layer, at all costs, in all folds. What it comes to
 * depends on nothing else, so that a run which was stopped gives what an undisturbed one gives.
 */
export interface SvmUnit {
  layer: string;
  width: number;
  classes: ClassLabels[];
}

/** What became of one class; lists go by the costs in the order of the run. */
export interface SolvedClass {
  /** Mean step-sum AP of the folds. */
  crossval: number[];
  /** Of each fold, and last of all rows. */
  gaps: number[][];
  converged: boolean;
  /** Of the SVM on all rows. Each of shape [width]. */
  weights: Float32Array[];
  biases: number[];
}

export interface SolvedUnit {
  classes: SolvedClass[];
  /** Training rows of zeros. */
  zeroRows: number;
}

/** Problems that are solved at once: what fills products of matrices, and leaves VOC07's classes for two processes. */
export const problemsAtOnce = 40;

/** What is to be solved of each class. */
export interface SolvedRun {
  labels: ClassLabels[];
  costs: number[];
  settings: { folds: number };
  signal?: AbortSignal;
}

/** The classes of a layer, cut by their number and that of the folds alone. */
export function unitsOf(run: SolvedRun, { layer, width }: Pick<SvmUnit, "layer" | "width">): SvmUnit[] {
  const { labels, settings } = run;
  const size = Math.max(1, Math.floor(problemsAtOnce / (settings.folds + 1)));
  const count = Math.ceil(labels.length / size);
  return Array.from({ length: count }, (_, i) => ({ layer, width, classes: labels.slice(i * size, (i + 1) * size) }));
}

/** Cross-validates and trains the classes of a unit at every cost. */
export async function solveUnit(options: {
  run: Omit<SolvedRun, "labels">;
  unit: SvmUnit;
  solver: SvmSolver;
  task: ProgressTask;
}): Promise<SolvedClass[]> {
  const { run, unit, solver, task } = options;
  const { costs, settings, signal } = run;
  const { folds } = settings;
  const solved = unit.classes.map(() => ({
    ap: costs.map(() => new Float64Array(folds)),
    gaps: costs.map(() => new Array<number>(folds + 1)),
    converged: true,
    weights: costs.map(() => new Float32Array(unit.width)),
    biases: costs.map(() => 0),
  }));
  let done = 0;
  await solver.solve({
    problems: unit.classes.flatMap((one) => problemsOf(one, folds)),
    costs: [...costs].sort((a, b) => a - b),
    signal,
    onProgress: (count) => {
      task.advance(count - done);
      done = count;
    },
    onSolution: ({ problem, cost, scores, weights, bias, gap, converged }) => {
      const c = Math.floor(problem / (folds + 1));
      const fold = problem % (folds + 1);
      const own = solved[c]!;
      const at = costs.indexOf(cost);
      own.gaps[at]![fold] = gap;
      own.converged &&= converged;
      if (fold < folds) {
        own.ap[at]![fold] = heldOutAp(unit.classes[c]!, fold, scores);
      } else {
        own.weights[at]!.set(weights);
        own.biases[at] = bias;
      }
    },
  });
  return solved.map(({ ap, ...own }) => ({ crossval: ap.map(mean), ...own }));
}

/** One problem a fold, whose rows take no part, and one of all rows. */
function problemsOf({ sides, folds: foldOf }: ClassLabels, folds: number): SvmProblem[] {
  const withoutFold = Array.from({ length: folds }, (_, fold) => ({
    sides: sides.map((side, row) => (foldOf[row] === fold ? 0 : side)),
  }));
  return [...withoutFold, { sides }];
}

function heldOutAp({ sides, folds }: ClassLabels, fold: number, scores: Float32Array): number {
  const rows = Uint32Array.from(sides.keys()).filter((row) => folds[row] === fold);
  return stepAveragePrecision({
    scores: Float32Array.from(rows, (row) => scores[row]!),
    targets: Int8Array.from(rows, (row) => (sides[row] === 1 ? 1 : 0)),
  });
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** A unit that an earlier run has finished. */
export async function savedUnit(run: SvmRun, unit: SvmUnit): Promise<SolvedUnit | undefined> {
  const file = unitFile(run, unit);
  if (file === undefined || !(await exists(file))) return undefined;
  const { arrays, metadata } = await readSafetensors(file);
  if (metadata.key !== unitKey(run, unit)) return undefined;
  const { classes, zeroRows } = JSON.parse(metadata.solved!) as {
    classes: Omit<SolvedClass, "weights">[];
    zeroRows: number;
  };
  const { data } = arrays.weights!;
  const weights = (row: number) => data.subarray(row * unit.width, (row + 1) * unit.width);
  const count = run.costs.length;
  return {
    classes: classes.map((own, c) => ({ ...own, weights: run.costs.map((_, i) => weights(c * count + i)) })),
    zeroRows,
  };
}

export async function saveUnit(run: SvmRun, unit: SvmUnit, { classes, zeroRows }: SolvedUnit): Promise<void> {
  const file = unitFile(run, unit);
  if (file === undefined) return;
  const rows = classes.flatMap(({ weights }) => weights);
  const data = new Float32Array(rows.length * unit.width);
  rows.forEach((row, i) => data.set(row, i * unit.width));
  const plain = classes.map(({ weights: _, ...own }) => own);
  await writeSafetensors(file, {
    arrays: { weights: { shape: [rows.length, unit.width], data } },
    metadata: { key: unitKey(run, unit), solved: JSON.stringify({ classes: plain, zeroRows }) },
  });
}

function unitFile({ folder }: SvmRun, { layer, classes }: SvmUnit): string | undefined {
  return folder && path.join(folder, `${layerFileName(layer)}.${classes[0]!.index}.safetensors`);
}

/** Digest of all that the unit depends on. */
function unitKey({ key }: SvmRun, { layer, classes }: SvmUnit): string {
  return digestOf({ state: 1, key, layer, classes: classes.map(({ index }) => index) });
}
