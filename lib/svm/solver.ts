import * as tf from "@tensorflow/tfjs";

import { expected } from "../errors.js";
import { ActiveRows } from "./active-rows.js";
import { Column, type Candidate, type Judgement } from "./column.js";
import type { Basis } from "./preconditioner.js";
import { Preconditioner, strongestDirections } from "./preconditioner.js";
import type { SvmObjective, SvmRows, SvmSolution, SvmSolver } from "./problem.js";
import type { RowProducts } from "./products.js";
import { rowProducts } from "./products.js";

/** Columns × rows that are under way at a time; a column keeps eight float64 a row. */
const groupLimit = 4_000_000;

/** Promising candidates that are judged at a time. */
const checksAtOnce = 64;

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
          onSolved: (solution: SvmSolution) => {
            onSolution(solution);
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
  onSolved: (solution: SvmSolution) => void;
}): Promise<void> {
  const { rows, products, basis, longest, columns, costs, signal, onSolved } = options;
  // Each column goes to its next cost when it is done with one, so that products have many columns to the end.
  const positions = new Map(columns.map((column) => [column, 0]));
  const expected = productsOfProblem * columns.length * costs.length;
  let spent = 0;
  const beginNext = (done: Column[]) => {
    const going = done.filter((column) => positions.get(column)! < costs.length);
    for (const column of done) spent += column.products;
    const paying = going.filter((column) => column.activeRowsPay(activeLimit.rows));
    const gram = paying.length > 0 ? products.gram(Math.max(spent, expected)) : undefined;
    if (gram) for (const column of paying) column.activeRows = new ActiveRows(gram, longest);
    for (const column of going) {
      const position = positions.get(column)!;
      column.begin(costs[position]!);
      positions.set(column, position + 1);
    }
  };
  // A promising candidate is judged later, among many, and its column goes on. Those that fail are taken up again last.
  const promising: Posed[] = [];
  const failed: Checked[] = [];
  const checkPromising = async () => {
    for (const found of await check(rows, products, promising.splice(0))) {
      if (found.judgement.converged) onSolved(solutionOf(found));
      else failed.push(found);
    }
  };
  const takeUpFailed = () => {
    const taken = new Set<Column>();
    for (const one of failed.splice(0)) {
      const { column, candidate, judgement } = one;
      if (taken.has(column)) {
        failed.push(one);
        continue;
      }
      taken.add(column);
      column.beginAgain(candidate, judgement);
      if (column.state === "done") onSolved(solutionOf(one));
    }
  };
  beginNext(columns);
  for (;;) {
    // Native TensorFlow computes at once: without a pause no signal is heard, and no progress seen.
    await tf.nextFrame();
    signal?.throwIfAborted();
    for (const column of columns) if (column.activeCount > activeLimit.rows) column.overAllRows();
    for (
      let arrived: Column[];
      (arrived = columns.filter((one) => one.state === "check" && one.promising)).length > 0;
    ) {
      for (const column of arrived) {
        promising.push({ column, candidate: column.candidate() });
        column.leave();
      }
      beginNext(arrived);
    }
    const stepping = columns.filter(({ state, alone }) => state === "step" && !alone);
    const alone = columns.filter(({ state, alone }) => state === "step" && alone);
    const checking = columns.filter(({ state }) => state === "check");
    if (promising.length >= checksAtOnce) await checkPromising();
    else if (4 * checking.length > stepping.length) {
      const posed = checking.map((column) => ({ column, candidate: column.candidate() }));
      for (const found of await check(rows, products, posed)) {
        const { column, candidate, judgement } = found;
        column.judge(candidate, judgement);
        if (column.state !== "done") continue;
        column.leave();
        onSolved(solutionOf(found));
      }
      beginNext(checking.filter(({ state }) => state === "done"));
    } else if (stepping.length > 0) await advance(products, basis, withinLimit(stepping));
    else if (alone.length > 0) for (const column of alone) advanceAlone(rows, column);
    else if (promising.length > 0) await checkPromising();
    else if (failed.length > 0) takeUpFailed();
    else break;
  }
}

/** One step of conjugate gradients for each column; over active rows it is mostly the only one of its Newton step. */
async function advance(products: RowProducts, basis: Basis, stepping: Column[]): Promise<void> {
  const overAll = stepping.filter(({ activeRows }) => !activeRows);
  const overActive = stepping.filter(({ activeRows }) => activeRows);
  const strong = new Float64Array(overAll.length);
  const vectors = overAll.length > 0 ? [await preconditioned(basis, overAll, strong)] : [];
  if (overActive.length > 0) vectors.push(await divided(products, overActive));
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
async function divided(products: RowProducts, columns: Column[]): Promise<tf.Tensor2D> {
  const outside: Float32Array[] = [];
  const places = columns.map(({ activeRows, begins, curvatures, residual }) => {
    if (begins) activeRows!.adapt(curvatures);
    const one = activeRows!.outside(residual);
    return one && outside.push(one) - 1;
  });
  const scores = outside.length > 0 ? await scoresOf(products, outside) : [];
  const parts: Float32Array[] = [];
  for (const [j, { activeRows, residual }] of columns.entries()) {
    const place = places[j];
    parts.push(await activeRows!.divide(residual, place === undefined ? undefined : scores[place]));
  }
  return sideBySide(parts);
}

/** Of coefficients, less their biases. */
async function scoresOf(products: RowProducts, coefficients: Float32Array[]): Promise<Float32Array[]> {
  const count = coefficients[0]!.length;
  const scores = tf.tidy(() => products.kernel(sideBySide(coefficients)));
  const values = await scores.data<"float32">();
  scores.dispose();
  return coefficients.map((_, j) => values.subarray(j * count, (j + 1) * count));
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
function sideBySide(vectors: (Float32Array | Float64Array)[]): tf.Tensor2D {
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

interface Posed {
  column: Column;
  candidate: Candidate;
}

interface Checked extends Posed {
  weights: Float32Array;
  bias: number;
  judgement: Judgement;
}

function solutionOf({ column, candidate, weights, bias, judgement }: Checked): SvmSolution {
  const { objective, gap, converged, scores } = judgement;
  const { cost, steps } = candidate;
  const found = { weights, bias, objective, gap, steps, converged };
  return { problem: column.index, cost, scores: new Float32Array(scores), ...found };
}

/** Judges candidates by the scores that their weights have. */
async function check(rows: SvmRows, products: RowProducts, posed: Posed[]): Promise<Checked[]> {
  const { count, width } = rows;
  const { stride } = products;
  const candidates = posed.map(({ candidate }) => candidate);
  const asked = candidates.filter(({ squaredDistance }) => squaredDistance === undefined);
  const [weights, scores, dualWeights] = tf.tidy(() => {
    const w = products.weights(sideBySide(candidates.map(({ coefficients }) => coefficients)));
    const duals = asked.map((candidate) => candidate.duals);
    return [w, products.scores(w), ...(asked.length > 0 ? [products.weights(sideBySide(duals))] : [])] as const;
  });
  const weightData = await weights.data<"float32">();
  const scoreData = await scores.data<"float32">();
  const dualWeightData = (await dualWeights?.data<"float32">()) ?? new Float32Array(0);
  tf.dispose([weights, scores]);
  dualWeights?.dispose();
  return posed.map(({ column, candidate }, j) => {
    const { exact } = column;
    const { coefficients, duals } = candidate;
    const own = exact ? exactWeights(rows, coefficients) : weightData.subarray(j * stride, j * stride + width);
    const bias = sum(coefficients);
    const ownScores = exact ? exactScores(rows, own) : new Float64Array(scoreData.subarray(j * count, (j + 1) * count));
    for (let i = 0; i < count; i++) ownScores[i]! += bias;
    let { squaredDistance } = candidate;
    if (squaredDistance === undefined) {
      const at = asked.indexOf(candidate) * stride;
      const other = exact ? exactWeights(rows, duals) : dualWeightData.subarray(at, at + width);
      squaredDistance = (bias - sum(duals)) ** 2;
      for (let i = 0; i < width; i++) squaredDistance += (own[i]! - other[i]!) ** 2;
    }
    let squaredNorm = bias ** 2;
    for (let i = 0; i < width; i++) squaredNorm += own[i]! ** 2;
    const judgement = column.judgement({ candidate, scores: ownScores, squaredNorm, squaredDistance });
    return { column, candidate, weights: new Float32Array(own), bias, judgement };
  });
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
