import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";
import { blockRowsOf } from "./objective.js";
import { type LogisticPathOptions, openLogisticPath } from "./path.js";
import type { LogisticRows, LogisticSolution } from "./problem.js";

export interface TrainLogisticPathOptions extends LogisticPathOptions {
  /** λ, above 0; in any order. They are followed from the largest down. */
  penalties: number[];
  /**
   * What accuracy is judged on: other rows with their classes. Default: of each problem the rows that have a class and
   * take no part in it.
   */
  validation?: { rows: LogisticRows; labels: ArrayLike<number> };
  /**
   * A problem leaves the path after so many penalties in a row that were worse than its best. Small penalties take the
   * most passes, and overfit. Default: none leaves.
   */
  patience?: number;
  /** Told of each trial when it is judged. */
  onTrial?: (trial: LogisticTrial) => void;
}

/** One problem at one penalty, and how well it judges. */
export type LogisticTrial = Omit<LogisticSolution, "weights" | "bias"> & {
  /** Share of the rows judged whose class has the highest score. */
  accuracy: number;
};

export interface TrainedLogisticPath {
  /** Of each problem, from the largest penalty down, as far as it was followed. */
  trials: LogisticTrial[][];
  /** Of each problem the solution of the highest accuracy, at the largest penalty among equals. */
  chosen: LogisticSolution[];
}

/**
 * Trains softmax regressions along a path of penalties and chooses one for each problem by validation.
 *
 *     const rows = memoryRows({ features, width: 2048 });
 *     const { chosen } = await trainLogisticPath({
 *       rows, labels, classes: 1000, validation: { rows: held, labels: heldLabels }, penalties: [1e-4, 1e-5, 1e-6],
 *     });
 *     const classifier = new LinearSvm(chosen[0]); // its decisionFunction gives W·x + b
 *
 * @throws UserError where sizes, labels or penalties do not fit, or a problem has no row to be judged on.
 */
export async function trainLogisticPath(options: TrainLogisticPathOptions): Promise<TrainedLogisticPath> {
  const { rows, labels, parts = [undefined], validation, penalties, patience = Infinity, onTrial } = options;
  if (penalties.length === 0) throw expected("at least one", "the penalties", penalties);
  const judged = validation ?? { rows, labels };
  if (judged.labels.length !== judged.rows.count) {
    throw expected(`${judged.rows.count} labels, one a row`, "the validation", judged.labels.length);
  }
  const held = parts.map((part, k) => {
    const own = Uint8Array.from({ length: judged.rows.count }, (_, row) => {
      return judged.labels[row]! >= 0 && (validation !== undefined || part?.[row] === 0) ? 1 : 0;
    });
    if (!own.includes(1))
      throw expected("rows to judge on: validation, or parts that hold some out,", `problem ${k + 1}`, 0);
    return own;
  });
  const trials: LogisticTrial[][] = parts.map(() => []);
  const chosen: LogisticSolution[] = [];
  const best = new Float64Array(parts.length).fill(-1);
  const worse = new Int32Array(parts.length);
  const path = await openLogisticPath(options);
  try {
    for (const penalty of [...penalties].sort((a, b) => b - a)) {
      const which = parts.flatMap((_, k) => (worse[k]! < patience ? [k] : []));
      if (which.length === 0) break;
      const solutions = await path.solve(penalty, which);
      const accuracies = await accuracy({
        solutions,
        ...judged,
        held: which.map((k) => held[k]!),
        classes: options.classes,
        blockRows: blockRowsOf(parts.length * options.classes),
      });
      solutions.forEach((solution, j) => {
        const { weights: _weights, bias: _bias, ...account } = solution;
        const k = which[j]!;
        const trial = { ...account, accuracy: accuracies[j]! };
        trials[k]!.push(trial);
        onTrial?.(trial);
        worse[k] = accuracies[j]! < best[k]! ? worse[k]! + 1 : 0;
        if (accuracies[j]! <= best[k]!) return;
        best[k] = accuracies[j]!;
        chosen[k] = solution;
      });
    }
  } finally {
    path.dispose();
  }
  return { trials, chosen };
}

/** Share of the held rows, of each solution, whose class has its highest score. */
async function accuracy(options: {
  solutions: LogisticSolution[];
  rows: LogisticRows;
  labels: ArrayLike<number>;
  held: Uint8Array[];
  classes: number;
  blockRows: number;
}): Promise<number[]> {
  const { solutions, rows, labels, held, classes, blockRows } = options;
  const count = solutions.length;
  const weights = tf.tidy(() => {
    const each = solutions.map(({ weights, bias }) => {
      const own = tf.tensor2d(weights, [classes, rows.width]);
      return tf.concat2d([own, tf.tensor2d(bias, [classes, 1])], 1);
    });
    return tf.transpose<tf.Tensor2D>(tf.concat2d(each, 0));
  });
  const right = new Float64Array(count);
  try {
    await rows.visit(blockRows, async (block, begin) => {
      const best = tf.tidy(() => tf.argMax(tf.matMul(block, weights).reshape([-1, count, classes]), 2));
      const read = await best.data();
      best.dispose();
      for (let i = 0; i < block.shape[0]; i++) {
        for (let j = 0; j < count; j++) {
          if (held[j]![begin + i] === 1 && read[i * count + j] === labels[begin + i]) right[j]!++;
        }
      }
    });
  } finally {
    weights.dispose();
  }
  return Array.from(right, (sum, j) => sum / held[j]!.reduce((all, one) => all + one, 0));
}
