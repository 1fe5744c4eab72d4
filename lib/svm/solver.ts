import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";
import { ActiveRows } from "./active-rows.js";
import { Column, type Candidate } from "./column.js";
import type { Basis } from "./preconditioner.js";
import { Preconditioner, strongestDirections } from "./preconditioner.js";
import type { SvmObjective, SvmRows, SvmSolver } from "./problem.js";
import type { RowProducts } from "./products.js";
import { rowProducts } from "./products.js";

/** Columns × rows that are under way at a time; a column keeps eight float64 a row. */
const groupLimit = 4_000_000;

/** Products with the kernel that a problem takes at a cost, roughly. */
const productsOfProblem = 25;

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
      products.expect(productsOfProblem * problems.length * costs.length);
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
          for (const { activeRows } of columns) activeRows?.forget();
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
  // Each column goes to its next cost when it is done with one, so that products have many columns to the end.
  const positions = new Map(columns.map((column) => [column, 0]));
  const expected = productsOfProblem * columns.length * costs.length;
  let spent = 0;
  const beginNext = async (done: Column[]) => {
    const going = done.filter((column) => positions.get(column)! < costs.length);
    for (const column of done) spent += column.products;
    const paying = going.filter((column) => column.activeRowsPay(activeLimit.rows));
    const gram = paying.length > 0 ? await products.gram(Math.max(spent, expected)) : undefined;
    if (gram) for (const column of paying) column.activeRows = new ActiveRows(gram, longest);
    for (const column of going) {
      const position = positions.get(column)!;
      column.begin(costs[position]!);
      positions.set(column, position + 1);
    }
  };
  await beginNext(columns);
  for (;;) {
    // Native TensorFlow computes at once: without a pause no signal is heard, and no progress seen.
    await tf.nextFrame();
    signal?.throwIfAborted();
    for (const column of columns) if (column.activeCount > activeLimit.rows) column.overAllRows();
    const stepping = columns.filter(({ state, alone }) => state === "step" && !alone);
    const alone = columns.filter(({ state, alone }) => state === "step" && alone);
    const checking = columns.filter(({ state }) => state === "check");
    if (4 * checking.length > stepping.length) {
      await check(rows, products, checking, (column, weights, bias) =>
        onSolved(column, costs[positions.get(column)! - 1]!, weights, bias),
      );
      await beginNext(checking.filter(({ state }) => state === "done"));
    } else if (stepping.length > 0) await advance(products, basis, withinLimit(stepping));
    else if (alone.length > 0) for (const column of alone) advanceAlone(rows, column);
    else break;
  }
}

/** One step of conjugate gradients for each column; over active rows it is mostly the only one of its Newton step. */
async function advance(products: RowProducts, basis: Basis, stepping: Column[]): Promise<void> {
  const overAll = stepping.filter(({ activeRows }) => !activeRows);
  const overActive = stepping.filter(({ activeRows }) => activeRows);
  const strong = new Float64Array(overAll.length);
  const vectors = overAll.length > 0 ? [await preconditioned(basis, overAll, strong)] : [];
  if (overActive.length > 0) vectors.push(await divided(overActive));
  const all = vectors.length > 1 ? tf.concat(vectors) : vectors[0]!;
  const scores = products.kernel(all);
  const [vectorData, scoreData] = [await all.data<"float32">(), await scores.data<"float32">()];
  tf.dispose([all, scores, ...vectors]);
  const { count } = basis;
  [...overAll, ...overActive].forEach((column, j) => column.advance(vectorData, scoreData, j * count, strong[j] ?? 0));
}

/**
 * The residuals of columns, divided by their preconditioners, [columns, count].
 *
 * @param strongParts receives what the strongest directions add to the products of residuals and quotients.
 */
async function preconditioned(basis: Basis, columns: Column[], strongParts: Float64Array): Promise<tf.Tensor2D> {
  const { count } = basis;
  const k = columns.length;
  const residuals = new Float32Array(k * count);
  for (const [j, column] of columns.entries()) {
    if (column.begins) await column.preconditioner.adapt(column.curvatures);
    const { rest } = column.preconditioner;
    for (let i = 0; i < count; i++) residuals[j * count + i] = column.residual[i]! / rest;
  }
  let vectors = tf.tensor2d(residuals, [k, count]);
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
  columns.forEach(({ preconditioner }, j) => {
    const own = strong.subarray(j * basis.rank, (j + 1) * basis.rank);
    const c = Float64Array.from(own, (value) => value * preconditioner.rest);
    strongParts[j] = preconditioner.complete(c);
    c.forEach((value, i) => (wanted[j * basis.rank + i] = value + own[i]!));
    own.set(c);
  });
  addAlong(strong);
  // What was to cancel has left rounding behind, which may outweigh what is wanted there.
  addAlong((await along()).map((value, i) => wanted[i]! - value));
  return vectors;
}

/** The residuals of columns, divided by their Hessians over active rows, [columns, count]. */
async function divided(columns: Column[]): Promise<tf.Tensor2D> {
  const parts: Float32Array[] = [];
  for (const { activeRows, begins, curvatures, residual } of columns) {
    if (begins) activeRows!.adapt(curvatures);
    parts.push(await activeRows!.divide(residual));
  }
  return sideBySide(parts);
}

/** Without those of the last columns over active rows for whose factors there is no room. */
function withinLimit(columns: Column[]): Column[] {
  let elements = 0;
  return columns.filter(({ activeRows, activeCount }) => {
    if (!activeRows) return true;
    const room = elements === 0 || elements + activeCount ** 2 <= activeLimit.elements;
    if (room) elements += activeCount ** 2;
    return room;
  });
}

/** Vectors of a number a row as one tensor, [vectors, rows]. */
function sideBySide(vectors: Float32Array[]): tf.Tensor2D {
  const count = vectors[0]!.length;
  const all = new Float32Array(vectors.length * count);
  vectors.forEach((vector, j) => all.set(vector, j * count));
  return tf.tensor2d(all, [vectors.length, count]);
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
  onSolved: (column: Column, weights: Float32Array, bias: number) => void,
): Promise<void> {
  const { count, width } = rows;
  const candidates = checking.map((column) => column.candidate());
  const float32 = ({ coefficients }: Candidate) => Float32Array.from(coefficients);
  const asked = candidates.filter(({ squaredDistance }) => squaredDistance === undefined);
  const [weights, scores, dualWeights] = tf.tidy(() => {
    const w = products.weights(sideBySide(candidates.map(float32)));
    const duals = asked.map((candidate) => Float32Array.from(candidate.duals));
    return [w, products.scores(w), ...(asked.length > 0 ? [products.weights(sideBySide(duals))] : [])] as const;
  });
  const weightData = await weights.data<"float32">();
  const scoreData = await scores.data<"float32">();
  const dualWeightData = (await dualWeights?.data<"float32">()) ?? new Float32Array(0);
  tf.dispose([weights, scores]);
  dualWeights?.dispose();
  for (const [j, column] of checking.entries()) {
    const candidate = candidates[j]!;
    let own: Float32Array | Float64Array = weightData.slice(j * width, (j + 1) * width);
    const bias = sum(candidate.coefficients);
    let ownScores = Float64Array.from(scoreData.subarray(j * count, (j + 1) * count), (score) => score + bias);
    if (column.exact) {
      own = exactWeights(rows, candidate.coefficients);
      ownScores = exactScores(rows, own).map((score) => score + bias);
    }
    let { squaredDistance } = candidate;
    if (squaredDistance === undefined) {
      const place = asked.indexOf(candidate);
      const other = column.exact
        ? exactWeights(rows, candidate.duals)
        : dualWeightData.subarray(place * width, (place + 1) * width);
      squaredDistance = (bias - sum(candidate.duals)) ** 2;
      for (let i = 0; i < width; i++) squaredDistance += (own[i]! - other[i]!) ** 2;
    }
    let squaredNorm = bias ** 2;
    for (let i = 0; i < width; i++) squaredNorm += own[i]! ** 2;
    column.judge({ ...candidate, scores: ownScores, squaredNorm, squaredDistance });
    if (column.state !== "done") continue;
    column.activeRows?.forget();
    onSolved(column, Float32Array.from(own), bias);
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
