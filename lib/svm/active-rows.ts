import * as tf from "@tensorflow/tfjs";

import { factorOf, type Factor } from "./factor.js";

/** Rows more or fewer than the factor has, as a share of its own and in all, for which it is not made anew. */
const stale = { share: 0.2, least: 16, most: 128 };

/** Rows that have left keep some rounding in their coefficients; below this share of what is wanted it is passed over. */
const negligible = 1e-7;

/** Other rows whose scores are computed one by one. */
const few = 200;

/**
 * Newton's system over the active rows a: the Hessian I + Xₐᵀ·D·Xₐ of the weights divides a residual with coefficients
 * r into z, with (D⁻¹ + Kₐₐ)·zₐ = D⁻¹·rₐ − Kₐᵣ·rᵣ and zᵣ = rᵣ on the other rows r. At high costs few rows are active,
 * so that a Cholesky factor of that matrix costs less than the many products that conjugate gradients would take.
 *
 * The factor is kept while few rows change. Those that became active border it, those that no longer are border it by
 * the condition that their z is zero there, and the system is solved through the Schur complement of the border.
 */
export class ActiveRows {
  private factor: Factor | undefined;
  /** Rows of the factor, and for each row its place there, or −1. */
  private rows: Int32Array = new Int32Array(0);
  private readonly places: Int32Array;
  private readonly count: number;
  private curvatures: Float64Array = new Float64Array(0);
  /** Of the rows, when the factor was made. */
  private readonly factored: Float64Array;
  /** Rows with curvature, and others of which the residual counts. */
  private active: Int32Array = new Int32Array(0);
  private others: number[] = [];
  private entered: number[] = [];
  private left: number[] = [];

  /**
   * @param gram X·Xᵀ, [count, count], row by row.
   * @param longest largest squared length of a row, with the bias's feature.
   */
  constructor(
    private readonly gram: Float32Array,
    readonly longest: number,
  ) {
    this.count = Math.sqrt(gram.length);
    this.places = new Int32Array(this.count).fill(-1);
    this.factored = new Float64Array(this.count);
  }

  /** Takes the rows of these curvatures, which `divide` will read. */
  adapt(curvatures: Float64Array): void {
    this.curvatures = curvatures;
    const { places, factored, rows } = this;
    this.entered = [];
    this.left = [];
    for (const row of rows) if (!(curvatures[row]! > 0)) this.left.push(row);
    let same = this.factor !== undefined;
    for (let i = 0; i < curvatures.length; i++) {
      if (!(curvatures[i]! > 0)) continue;
      if (places[i]! < 0) this.entered.push(i);
      else if (curvatures[i] !== factored[i]) same = false;
    }
    const most = Math.min(stale.most, Math.max(stale.least, stale.share * rows.length));
    if (same && this.entered.length + this.left.length <= most) return;
    this.forget();
    this.entered = [];
    this.left = [];
    this.rows = activeOf(curvatures);
    this.rows.forEach((row, i) => (places[row] = i));
    this.factored.set(curvatures);
    if (this.rows.length > 0) this.factor = this.makeFactor();
  }

  private makeFactor(): Factor {
    const { rows, gram, count, curvatures } = this;
    const size = rows.length;
    const matrix = new Float32Array(size * size);
    for (let i = 0; i < size; i++) {
      const from = rows[i]! * count;
      const to = i * size;
      for (let j = 0; j <= i; j++) matrix[to + j] = gram[from + rows[j]!]! + 1;
      matrix[to + i]! += 1 / curvatures[rows[i]!]!;
    }
    return factorOf(matrix, size);
  }

  /**
   * The residual on rows that are not active, [count], where so many count there that their scores are better computed
   * beside those of other columns, for `divide`.
   */
  outside(residual: Float64Array): Float32Array | undefined {
    const { curvatures } = this;
    this.active = activeOf(curvatures);
    let largest = 0;
    for (const row of this.active) largest = Math.max(largest, Math.abs(residual[row]! / curvatures[row]!));
    this.others = [];
    for (let i = 0; i < curvatures.length; i++) {
      if (!(curvatures[i]! > 0) && this.longest * Math.abs(residual[i]!) > negligible * largest) this.others.push(i);
    }
    if (this.others.length <= few) return undefined;
    const outside = new Float32Array(this.count);
    for (const row of this.others) outside[row] = residual[row]!;
    return outside;
  }

  /**
   * z of a residual r; both are coefficients, [count].
   *
   * @param scores of what `outside`, which comes first, gave of the residual, less its bias; [count].
   */
  async divide(residual: Float64Array, scores?: Float32Array): Promise<Float32Array> {
    const { rows, places, curvatures, active, others, entered, left, factor, gram, count } = this;
    const size = rows.length;
    const border = entered.length + left.length;
    const quotient = new Float32Array(count);
    const wanted = new Float64Array(count);
    for (let i = 0; i < count; i++) if (!(curvatures[i]! > 0)) quotient[i] = residual[i]!;
    for (const row of active) wanted[row] = residual[row]! / curvatures[row]!;
    let bias = 0;
    for (const row of others) bias += residual[row]!;
    if (scores) for (const row of active) wanted[row]! -= scores[row]! + bias;
    else {
      for (const row of others) {
        const from = row * count;
        for (const other of active) wanted[other]! -= residual[row]! * (gram[from + other]! + 1);
      }
    }

    if (!factor) return quotient;
    // Side by side: the border's columns, and what is wanted.
    const columns = border + 1;
    const sides = new Float32Array(size * columns);
    for (let j = 0; j < entered.length; j++) {
      const from = entered[j]! * count;
      for (let i = 0; i < size; i++) sides[i * columns + j] = gram[from + rows[i]!]! + 1;
    }
    for (let i = 0; i < size; i++) sides[i * columns + border] = curvatures[rows[i]!]! > 0 ? wanted[rows[i]!]! : 0;
    left.forEach((row, j) => (sides[places[row]! * columns + entered.length + j] = 1));
    const halves = tf.tidy(() => factor.forward(tf.tensor2d(sides, [size, columns])));
    const mixture = new Float32Array(columns);
    mixture[border] = 1;
    if (border > 0) {
      const products = tf.tidy(() => tf.matMul(halves, halves, true));
      const inner = await products.data<"float32">();
      products.dispose();
      const complement = new Float64Array(border * border);
      const multipliers = new Float64Array(border);
      for (let j = 0; j < border; j++) {
        for (let k = 0; k < border; k++) complement[j * border + k] = -inner[j * columns + k]!;
        multipliers[j] = (j < entered.length ? wanted[entered[j]!]! : 0) - inner[j * columns + border]!;
      }
      entered.forEach((row, j) => {
        entered.forEach((other, k) => (complement[j * border + k]! += gram[row * count + other]! + 1));
        complement[j * border + j]! += 1 / curvatures[row]!;
      });
      solveQuasidefinite(complement, multipliers);
      entered.forEach((row, j) => (quotient[row] = multipliers[j]!));
      multipliers.forEach((value, j) => (mixture[j] = -value));
    }
    const last = tf.tidy(() => factor.backward(tf.matMul(halves, tf.tensor2d(mixture, [columns, 1]))));
    const solution = await last.data<"float32">();
    tf.dispose([halves, last]);
    rows.forEach((row, i) => {
      if (curvatures[row]! > 0) quotient[row] = solution[i]!;
    });
    return quotient;
  }

  /** Drops the factor; the next `adapt` makes one. */
  forget(): void {
    this.factor?.dispose();
    this.factor = undefined;
    this.rows = new Int32Array(0);
    this.places.fill(-1);
  }
}

/** The rows with curvature, in order. */
function activeOf(curvatures: Float64Array): Int32Array {
  const active: number[] = [];
  for (let i = 0; i < curvatures.length; i++) if (curvatures[i]! > 0) active.push(i);
  return Int32Array.from(active);
}

/** Solves in place; a matrix positive definite in its first rows and negative in the others needs no pivots. */
function solveQuasidefinite(matrix: Float64Array, b: Float64Array): void {
  const size = b.length;
  for (let k = 0; k < size; k++) {
    for (let i = k + 1; i < size; i++) {
      const ratio = matrix[i * size + k]! / matrix[k * size + k]!;
      if (ratio === 0) continue;
      for (let j = k + 1; j < size; j++) matrix[i * size + j]! -= ratio * matrix[k * size + j]!;
      b[i]! -= ratio * b[k]!;
    }
  }
  for (let i = size - 1; i >= 0; i--) {
    for (let j = i + 1; j < size; j++) b[i]! -= matrix[i * size + j]! * b[j]!;
    b[i]! /= matrix[i * size + i]!;
  }
}
