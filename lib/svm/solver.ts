import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";
import { ActiveRows } from "./active-rows.js";
import { Column } from "./column.js";
import type { Basis } from "./preconditioner.js";
import { Preconditioner, strongestDirections } from "./preconditioner.js";
import type { SvmObjective, SvmRows, SvmSolver } from "./problem.js";
import type { RowProducts } from "./products.js";
import { rowProducts } from "./products.js";

/** Columns × rows that are under way at a time; a column keeps eight float64 a row. */
const groupLimit = 4_000_000;

/** Most active rows that a factor is made over, and most elements of the factors that there are at a time (400 MB). */
const activeLimit = { rows: 2500, elements: 1e8 };

/**
 * Opens a solver on rows.
 *
 * @param options.rows finite float32 features; they are copied to the backend.
 * @param options.objective loss, weight of the positive rows and tolerance.
 * @throws UserError where a row's features are not finite, or too large to be squared in single precision.
 */
export async function openSvmSolver(options: { rows: SvmRows; objective: SvmObjective }): Promise<SvmSolver> {
  const { rows, objective } = options;
  const lengths = squaredLengths(rows);
  const longest = lengths.reduce((a, b) => Math.max(a, b), 0);
  const products = rowProducts(rows);
  let basis: Basis | undefined;

  return {
    solve: async ({ problems, costs, onSolution, onProgress, signal }) => {
      products.expect(25 * problems.length * costs.length);
      basis ??= await basisOf(rows, products, lengths);
      const size = Math.max(1, Math.floor(groupLimit / rows.count));
      let solved = 0;
      for (let begin = 0; begin < problems.length; begin += size) {
        const columns = problems
          .slice(begin, begin + size)
          .map((problem, i) => new Column(begin + i, problem, objective, new Preconditioner(basis!, rows.width)));
        const group = {
          rows,
          products,
          basis,
          longest,
          columns,
          costs,
          signal,
          onSolved: (column: Column, cost: number, weights: Float32Array, bias: number) => {
            onSolution({
              problem: column.index,
              cost,
              scores: Float32Array.from(column.scores),
              weights,
              bias,
              objective: column.objective,
              gap: column.gap,
              steps: column.steps,
              converged: column.converged,
            });
            onProgress?.(++solved);
          },
        };
        try {
          await solveGroup(group);
        } finally {
          for (const { activeRows } of columns) activeRows?.dispose();
        }
      }
    },
    dispose: () => {
      products.dispose();
      basis?.dispose();
    },
  };
}

/** Strongest directions that the preconditioner treats exactly. */
const rank = 128;

async function basisOf(rows: SvmRows, products: RowProducts, squaredLengths: Float64Array): Promise<Basis> {
  return strongestDirections({
    products,
    count: rows.count,
    rank: Math.min(rank, rows.count, rows.width + 1),
    squaredLengths,
  });
}

/** Squared lengths of rows are below it, so that sums of many are finite in single precision. */
const largest = 1e30;

/** Of each row, with the bias's feature. */
function squaredLengths(rows: SvmRows): Float64Array {
  const lengths = new Float64Array(rows.count);
  let row = 0;
  for (const block of rows.blocks) {
    for (let at = 0; at < block.length; at += rows.width) {
      let sum = 1;
      for (let i = at; i < at + rows.width; i++) sum += block[i]! ** 2;
      if (!(sum < largest))
        throw expected("finite features of sensible size", `row ${row + 1}`, `a length of ${Math.sqrt(sum)}`);
      lengths[row++] = sum;
    }
  }
  return lengths;
}

async function solveGroup(options: {
  rows: SvmRows;
  products: RowProducts;
  basis: Basis;
  /** Largest squared length of a row. */
  longest: number;
  columns: Column[];
  costs: number[];
  signal?: AbortSignal;
  onSolved: (column: Column, cost: number, weights: Float32Array, bias: number) => void;
}): Promise<void> {
  const { rows, products, basis, longest, columns, costs, signal, onSolved } = options;
  for (const cost of costs) {
    await restrict(
      columns.filter((column) => column.activeRowsPay(activeLimit.rows)),
      products,
      longest,
    );
    for (const column of columns) column.begin(cost);
    for (;;) {
      // Native TensorFlow computes at once: without a pause no signal is heard, and no progress seen.
      await tf.nextFrame();
      signal?.throwIfAborted();
      for (const column of columns) if (column.activeCount > activeLimit.rows) column.overAllRows();
      const stepping = columns.filter(({ state, alone, activeRows }) => state === "step" && !alone && !activeRows);
      const active = columns.filter(({ state, activeRows }) => state === "step" && activeRows);
      const alone = columns.filter(({ state, alone }) => state === "step" && alone);
      const checking = columns.filter(({ state }) => state === "check");
      if (stepping.length > 0) await advance(rows, products, basis, stepping);
      else if (alone.length > 0) for (const column of alone) advanceAlone(rows, column);
      else if (active.length > 0) await advanceActive(products, withinLimit(active));
      else if (checking.length > 0) await check(rows, products, checking, cost, onSolved);
      else break;
    }
  }
}

/** One step of conjugate gradients for each column. */
async function advance(rows: SvmRows, products: RowProducts, basis: Basis, stepping: Column[]): Promise<void> {
  const { count } = rows;
  const k = stepping.length;
  const residuals = new Float32Array(k * count);
  for (const [j, column] of stepping.entries()) {
    if (column.begins) await column.preconditioner.adapt(column.curvatures);
    const { rest } = column.preconditioner;
    for (let i = 0; i < count; i++) residuals[j * count + i] = column.residual[i]! / rest;
  }
  let vectors = tf.tensor2d(residuals, [k, count]);
  const strongParts = new Float64Array(k);
  const along = async () => {
    const projected = tf.matMul(vectors, basis.scores);
    const values = await projected.data();
    projected.dispose();
    return values as Float32Array;
  };
  const addAlong = (values: Float32Array) => {
    const sum = tf.tidy(() =>
      tf.add<tf.Tensor2D>(vectors, tf.matMul(tf.tensor2d(values, [k, basis.rank]), basis.lift)),
    );
    vectors.dispose();
    vectors = sum;
  };
  const strong = await along();
  const wanted = new Float64Array(strong.length);
  stepping.forEach(({ preconditioner }, j) => {
    const own = strong.subarray(j * basis.rank, (j + 1) * basis.rank);
    const c = Float64Array.from(own, (value) => value * preconditioner.rest);
    strongParts[j] = preconditioner.complete(c);
    c.forEach((value, i) => (wanted[j * basis.rank + i] = value + own[i]!));
    own.set(c);
  });
  addAlong(strong);
  // What was to cancel has left rounding behind, which may outweigh what is wanted there.
  addAlong((await along()).map((value, i) => wanted[i]! - value));
  const scores = products.kernel(vectors);
  const [vectorData, scoreData] = [(await vectors.data()) as Float32Array, (await scores.data()) as Float32Array];
  tf.dispose([vectors, scores]);
  stepping.forEach((column, j) => column.advance(vectorData, scoreData, j * count, strongParts[j]!));
}

/** Goes over to active rows, from the dual variables of the optimum reached: they are zero on all other rows. */
async function restrict(columns: Column[], products: RowProducts, longest: number): Promise<void> {
  const gram = products.gram(columns.reduce((sum, column) => sum + column.products, 0));
  if (columns.length === 0 || !gram) return;
  const duals = columns.map((column) => column.dualCoefficients());
  const scores = await kernelOf(duals, products);
  columns.forEach((column, j) => {
    const activeRows = new ActiveRows(gram, longest);
    column.overActiveRows(activeRows, duals[j]!, scores[j]!);
  });
}

/** As many of the first columns as their factors have room. */
function withinLimit(columns: Column[]): Column[] {
  let elements = 0;
  return columns.filter((column, j) => (elements += column.activeCount ** 2) <= activeLimit.elements || j === 0);
}

/** A step of conjugate gradients, mostly the only one of its Newton step, for each column that goes over active rows. */
async function advanceActive(products: RowProducts, stepping: Column[]): Promise<void> {
  const vectors: Float32Array[] = [];
  for (const column of stepping) {
    if (column.begins) await column.activeRows!.adapt(column.curvatures);
    vectors.push(await column.activeRows!.divide(column.residual));
  }
  const scores = await kernelOf(vectors, products);
  stepping.forEach((column, j) => column.advance(vectors[j]!, scores[j]!, 0, 0));
}

/** Scores of columns, less their biases. */
async function kernelOf(vectors: Float32Array[], products: RowProducts): Promise<Float32Array[]> {
  const count = vectors[0]!.length;
  const all = new Float32Array(vectors.length * count);
  vectors.forEach((vector, j) => all.set(vector, j * count));
  const scores = tf.tidy(() => products.kernel(tf.tensor2d(all, [vectors.length, count])));
  const values = (await scores.data()) as Float32Array;
  scores.dispose();
  return vectors.map((_, j) => values.subarray(j * count, (j + 1) * count));
}

/** The same for one column, in double precision and without a preconditioner. */
function advanceAlone(rows: SvmRows, column: Column): void {
  const vector = column.residual.slice();
  column.advance(vector, exactScores(rows, exactWeights(rows, vector)), 0, 0);
}

/** Judges the candidates of columns, and hands over those that are solved. */
async function check(
  rows: SvmRows,
  products: RowProducts,
  checking: Column[],
  cost: number,
  onSolved: (column: Column, cost: number, weights: Float32Array, bias: number) => void,
): Promise<void> {
  const { count, width } = rows;
  const k = checking.length;
  const coefficients = new Float32Array(k * count);
  const duals = new Float32Array(k * count);
  const candidates = checking.map((column) => column.candidate());
  candidates.forEach((candidate, j) => {
    coefficients.set(candidate.coefficients, j * count);
    duals.set(candidate.duals, j * count);
  });
  const [weights, dualWeights, scores] = tf.tidy(() => {
    const w = products.weights(tf.tensor2d(coefficients, [k, count]));
    return [w, products.weights(tf.tensor2d(duals, [k, count])), products.scores(w)];
  });
  const weightData = (await weights.data()) as Float32Array;
  const dualWeightData = (await dualWeights.data()) as Float32Array;
  const scoreData = (await scores.data()) as Float32Array;
  tf.dispose([weights, dualWeights, scores]);
  for (const [j, column] of checking.entries()) {
    const candidate = candidates[j]!;
    let own: Float32Array | Float64Array = weightData.slice(j * width, (j + 1) * width);
    let other: Float32Array | Float64Array = dualWeightData.subarray(j * width, (j + 1) * width);
    const bias = sum(candidate.coefficients);
    let ownScores = Float64Array.from(scoreData.subarray(j * count, (j + 1) * count), (score) => score + bias);
    if (column.exact) {
      own = exactWeights(rows, candidate.coefficients);
      other = exactWeights(rows, candidate.duals);
      ownScores = exactScores(rows, own).map((score) => score + bias);
    }
    let squaredNorm = bias ** 2;
    let squaredDistance = (bias - sum(candidate.duals)) ** 2;
    for (let i = 0; i < width; i++) {
      squaredNorm += own[i]! ** 2;
      squaredDistance += (own[i]! - other[i]!) ** 2;
    }
    column.judge({ ...candidate, scores: ownScores, squaredNorm, squaredDistance });
    if (column.state === "done") column.activeRows?.forget();
    if (column.state === "done") onSolved(column, cost, Float32Array.from(own), bias);
  }
}

function sum(values: Float32Array | Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

/** Xᵀ·coefficients in double precision. */
function exactWeights(rows: SvmRows, coefficients: Float32Array | Float64Array): Float64Array {
  const weights = new Float64Array(rows.width);
  eachRow(rows, (row, block, at) => {
    const beta = coefficients[row]!;
    if (beta !== 0) for (let i = 0; i < rows.width; i++) weights[i]! += beta * block[at + i]!;
  });
  return weights;
}

/** X·weights in double precision. */
function exactScores(rows: SvmRows, weights: Float32Array | Float64Array): Float64Array {
  const scores = new Float64Array(rows.count);
  eachRow(rows, (row, block, at) => {
    let sum = 0;
    for (let i = 0; i < rows.width; i++) sum += weights[i]! * block[at + i]!;
    scores[row] = sum;
  });
  return scores;
}

function eachRow(rows: SvmRows, visit: (row: number, block: Float32Array, at: number) => void): void {
  let row = 0;
  for (const block of rows.blocks) for (let at = 0; at < block.length; at += rows.width) visit(row++, block, at);
}
