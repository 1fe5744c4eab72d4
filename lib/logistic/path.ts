import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";
import { minimise } from "../optim/lbfgs.js";
import { blockRowsOf, countOf, evaluate } from "./objective.js";
import type { LogisticObjective, LogisticRows, LogisticSolution } from "./problem.js";
import { secondMoment, type Whitening, whitening } from "./whitening.js";

export interface LogisticPathOptions extends LogisticObjective {
  rows: LogisticRows;
  /** Class of each row, or −1 where it takes no part. Shape [rows.count]. */
  labels: ArrayLike<number>;
  /**
   * Problems on these rows (folds, seeds): for each, 1 where a row takes part and 0 where it is held out. Default: one,
   * in which all do. Shape [problems][rows.count].
   */
  parts?: (Uint8Array | undefined)[];
  signal?: AbortSignal;
}

/** Problems that are followed along a path of penalties. */
export interface LogisticPath {
  /**
   * Minimises all problems at a penalty, from where the penalty before left them; the first from 0. So a path goes from
   * large penalties to small ones.
   *
   * @param penalty λ, above 0.
   * @param which of the problems, by index; all where undefined. Others stay where they are.
   * @returns one a problem, in their order.
   */
  solve(penalty: number, which?: number[]): Promise<LogisticSolution[]>;
  /** Moves a problem to where another has come: all rows to what a fold has found, say. */
  move(problem: number, to: Pick<LogisticSolution, "weights" | "bias">): void;
  dispose(): void;
}

/** Pairs of steps and gradient changes that are remembered. */
const history = 10;

/** Steps of one problem at one penalty, at most. */
const maxIterations = 500;

/**
 * Opens softmax regressions on rows: all problems are columns of common products, each with its own step and line
 * search, and one that is solved leaves the products. They are minimised by L-BFGS over coordinates in which they are
 * nearly round ({@link whitening}), which takes a fifth of the passes that plain L-BFGS takes.
 *
 * @throws UserError where labels, parts or sizes do not fit, a problem has no row, or features are not finite.
 */
export async function openLogisticPath(options: LogisticPathOptions): Promise<LogisticPath> {
  const { rows, classes, parts = [undefined], signal } = options;
  const labels = checked(options);
  const { tolerance = 1e-4, regularizeBias = false } = options;
  const { width } = rows;
  const blockRows = blockRowsOf(parts.length * classes);
  const moment = await secondMoment(rows, { blockRows, signal });
  if (!(await isFinite(moment))) {
    moment.dispose();
    throw notFinite();
  }
  /** [classes, width + 1] of each problem. */
  const weights = parts.map(() => tf.zeros<tf.Rank.R2>([classes, width + 1]));
  /** Mean of p(1 − p), as last seen: all classes are equally likely at first. */
  const curvature = new Float64Array(parts.length).fill((1 - 1 / classes) / classes);
  const firstNorm = new Float64Array(parts.length);
  const featurePenalties = (penalty: number) =>
    tf.tensor1d(Float32Array.from({ length: width + 1 }, (_, i) => (i < width || regularizeBias ? penalty : 0)));

  const solve = async (penalty: number, which = parts.map((_, k) => k)): Promise<LogisticSolution[]> => {
    if (!(penalty > 0 && Number.isFinite(penalty))) throw expected("a number above 0", "a penalty", penalty);
    const penalties = featurePenalties(penalty);
    const round = await whitening({
      moment,
      curvature: which.reduce((sum, k) => sum + curvature[k]! / which.length, 0),
      penalties,
    });
    const norms = new Float64Array(which.length);
    const problem = { ...options, labels, parts, blockRows, classes, penalties, round };
    const start = tf.tidy(() => {
      const together = tf.concat2d(which.map((k) => weights[k]!), 0); // prettier-ignore
      return round.coordinates(together).reshape<tf.Tensor2D>([which.length, -1]);
    });
    try {
      const { x, problems } = await minimise({
        start,
        history,
        lineSearch: "strong_wolfe",
        maxIterations,
        firstStep: 1,
        toleranceDecrease: (loss) => tolerance * Math.min(loss, Math.log(classes) - loss),
        toleranceGradient: 0,
        toleranceChange: 1e-9,
        evaluate: async (coordinates, active) => {
          const asked = which.flatMap((_, j) => (active[j] ? [j] : []));
          const found = await evaluateAt(coordinates, { ...problem, asked, which });
          asked.forEach((j, i) => {
            const k = which[j]!;
            curvature[k] = found.curvature[i]!;
            norms[j] = found.gradientNorms[i]!;
            firstNorm[k] ||= norms[j];
          });
          return found;
        },
      });
      if (problems.some(({ stopped }) => stopped === "not finite")) {
        x.dispose();
        throw notFinite();
      }
      const found = tf.tidy(() => round.weights(x.reshape([-1, width + 1])));
      x.dispose();
      const values = await found.data<"float32">();
      found.dispose();
      return which.map((k, j) => {
        const own = values.slice(j * classes * (width + 1), (j + 1) * classes * (width + 1));
        weights[k]!.dispose();
        weights[k] = tf.tensor2d(own, [classes, width + 1]);
        const { loss, decrease = 0, iterations, evaluations, converged } = problems[j]!;
        return {
          problem: k,
          penalty,
          ...split(own, classes, width),
          objective: loss,
          gap: decrease / loss,
          gradientNorm: norms[j]! / firstNorm[k]!,
          iterations,
          evaluations,
          converged,
        };
      });
    } finally {
      round.dispose();
      tf.dispose([start, penalties]);
    }
  };
  return {
    solve,
    move: (problem, to) => {
      weights[problem]!.dispose();
      weights[problem] = tf.tidy(() => {
        const bias = tf.tensor2d(to.bias, [classes, 1]);
        return tf.concat2d([tf.tensor2d(to.weights, [classes, width]), bias], 1);
      });
      firstNorm[problem] = 0;
    },
    dispose: () => tf.dispose([moment, ...weights]),
  };
}

async function isFinite(matrix: tf.Tensor2D): Promise<boolean> {
  const sum = tf.sum(matrix);
  const [value] = await sum.data();
  sum.dispose();
  return Number.isFinite(value);
}

const notFinite = () => expected("finite features of sensible size", "logistic regression", "others");

/** Losses and gradients over coordinates; the rows of problems that are not asked are zeros. */
async function evaluateAt(
  coordinates: tf.Tensor2D,
  options: LogisticPathOptions & {
    labels: Int32Array;
    parts: (Uint8Array | undefined)[];
    blockRows: number;
    penalties: tf.Tensor1D;
    round: Whitening;
    which: number[];
    asked: number[];
  },
) {
  const { classes, penalties, round, which, asked, parts } = options;
  const count = asked.length;
  const own = tf.tidy(() => {
    const taken = count === which.length ? coordinates : tf.gather(coordinates, tf.tensor1d(asked, "int32"));
    return round.weights(taken.reshape([count * classes, -1]));
  });
  const columns = tf.transpose<tf.Tensor2D>(own);
  try {
    const sums = await evaluate({ ...options, parts: asked.map((j) => parts[which[j]!]), weights: columns });
    const { gradient, told } = tf.tidy(() => {
      const pull = tf.mul<tf.Tensor2D>(own, penalties);
      const ofWeights = tf.add<tf.Tensor2D>(tf.transpose(sums.gradient), pull);
      const perProblem = (a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.mul(a, b).reshape([count, -1]), 1);
      const rounded = round.gradient(ofWeights).reshape<tf.Tensor2D>([count, -1]);
      const rest = tf.zeros<tf.Rank.R2>([1, rounded.shape[1]]);
      const places = which.map((_, j) => (asked.includes(j) ? asked.indexOf(j) : count));
      return {
        gradient: count === which.length ? rounded : tf.gather(tf.concat2d([rounded, rest], 0), places),
        told: tf.stack([perProblem(own, pull), perProblem(ofWeights, ofWeights)]),
      };
    });
    sums.gradient.dispose();
    const read = await told.data();
    told.dispose();
    const loss = new Float64Array(which.length);
    asked.forEach((j, i) => (loss[j] = sums.loss[i]! + read[i]! / 2));
    return {
      loss,
      gradient,
      curvature: sums.curvature,
      gradientNorms: asked.map((_, i) => Math.sqrt(read[count + i]!)),
    };
  } finally {
    tf.dispose([own, columns]);
  }
}

/** [classes, width + 1] → weights and bias. */
function split(own: Float32Array, classes: number, width: number): { weights: Float32Array; bias: Float32Array } {
  const weights = new Float32Array(classes * width);
  const bias = new Float32Array(classes);
  for (let c = 0; c < classes; c++) {
    const at = c * (width + 1);
    weights.set(own.subarray(at, at + width), c * width);
    bias[c] = own[at + width]!;
  }
  return { weights, bias };
}

function checked({ rows, labels, classes, parts = [], tolerance = 1 }: LogisticPathOptions): Int32Array {
  if (!(Number.isInteger(classes) && classes >= 2)) throw expected("at least two", "the classes", classes);
  if (!(tolerance > 0)) throw expected("a number above 0", "the tolerance", tolerance);
  if (labels.length !== rows.count) throw expected(`${rows.count} labels, one a row`, "the labels", labels.length);
  const own = Int32Array.from(labels);
  own.forEach((label, row) => {
    if (label !== labels[row] || label < -1 || label >= classes) {
      throw expected(`a class in 0 … ${classes - 1}, or -1`, `the label of row ${row + 1}`, labels[row]);
    }
  });
  for (const [k, part] of (parts.length > 0 ? parts : [undefined]).entries()) {
    if (part && part.length !== rows.count) {
      throw expected(`${rows.count} numbers, one a row`, `problem ${k + 1}`, part.length);
    }
    if (countOf(own, part) === 0) throw expected("at least one row with a class", `problem ${k + 1}`, 0);
  }
  return own;
}
