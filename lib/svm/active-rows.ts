import * as tf from "@tensorflow/tfjs";

import { factorOf, type Factor } from "./factor.js";

/** Rows more or fewer than the factor has, as a share of its own, for which it is not made anew. */
const stale = 0.12;

/** Added to the diagonal, as a share of the trace, for the rounding of single precision. */
const relativeShift = 1e-7;

/** Rows that have left keep some rounding in their coefficients; below this share of what is wanted it is passed over. */
const negligible = 1e-7;

/**
 * Newton's system over the active rows a: the Hessian I + Xₐᵀ·D·Xₐ of the weights divides a residual with coefficients r
 * into z, with (D⁻¹ + Kₐₐ)·zₐ = D⁻¹·rₐ − Kₐᵣ·rᵣ and zᵣ = rᵣ on the other rows r. At high costs few rows are active, so
 * that a Cholesky factor of that matrix costs less than the many products that conjugate gradients would take.
 *
 * The factor is kept while few rows change. Those that became active border it, those that no longer are border it by
 * the condition that their z is zero there, and the system is solved through the Schur complement of the border.
 */
export class ActiveRows {
  private factor: Factor | undefined;
  /** Rows of the factor, and for each row its place there, or −1. */
  private rows: number[] = [];
  private readonly places: Int32Array;
  private curvatures: Float64Array = new Float64Array(0);
  /** Of the rows, when the factor was made. */
  private factored: Float64Array = new Float64Array(0);
  private entered: number[] = [];
  private left: number[] = [];

  /**
   * @param gram X·Xᵀ, [count, count].
   * @param longest largest squared length of a row, with the bias's feature.
   */
  constructor(
    private readonly gram: tf.Tensor2D,
    readonly longest: number,
  ) {
    this.places = new Int32Array(gram.shape[0]).fill(-1);
  }

  /** Takes the rows of these curvatures, which `divide` will read. */
  async adapt(curvatures: Float64Array): Promise<void> {
    this.curvatures = curvatures;
    const { places } = this;
    this.entered = [];
    this.left = this.rows.filter((row) => !(curvatures[row]! > 0));
    let same = this.factor !== undefined;
    for (let i = 0; i < curvatures.length; i++) {
      if (!(curvatures[i]! > 0)) continue;
      if (places[i]! < 0) this.entered.push(i);
      else if (curvatures[i] !== this.factored[i]) same = false;
    }
    if (same && this.entered.length + this.left.length <= Math.min(128, Math.max(16, stale * this.rows.length))) return;
    this.forget();
    this.entered = [];
    this.left = [];
    for (let i = 0; i < curvatures.length; i++) {
      if (!(curvatures[i]! > 0)) continue;
      places[i] = this.rows.length;
      this.rows.push(i);
    }
    this.factored = curvatures.slice();
    this.factor = await this.makeFactor();
  }

  private async makeFactor(): Promise<Factor> {
    const { rows, gram, curvatures } = this;
    const diagonal = Float64Array.from(rows, (row) => 1 / curvatures[row]!);
    const shift = relativeShift * rows.length * this.longest;
    const kernel = tf.tidy(() => {
      const indices = tf.tensor1d(rows, "int32");
      return tf.add<tf.Tensor2D>(tf.gather(tf.gather(gram, indices), indices, 1), 1);
    });
    try {
      return await factorOf(
        kernel,
        diagonal.map((value) => value + shift),
      );
    } finally {
      kernel.dispose();
    }
  }

  /** z of a residual r; both are coefficients, [count]. */
  async divide(residual: Float64Array): Promise<Float32Array> {
    const { rows, places, curvatures, entered, left, factor } = this;
    const size = rows.length;
    const count = residual.length;
    const border = entered.length + left.length;
    const others: number[] = [];
    const quotient = new Float32Array(count);
    const wanted = new Float64Array(count);
    let largest = 0;
    for (let i = 0; i < count; i++) {
      if (!(curvatures[i]! > 0)) continue;
      wanted[i] = residual[i]! / curvatures[i]!;
      largest = Math.max(largest, Math.abs(wanted[i]!));
    }
    for (let i = 0; i < count; i++) {
      if (curvatures[i]! > 0) continue;
      quotient[i] = residual[i]!;
      if (this.longest * Math.abs(residual[i]!) > negligible * largest) others.push(i);
    }
    const kernel = await this.kernelRows([...entered, ...others]);
    const kernelOf = (index: number) => kernel.subarray(index * count, (index + 1) * count);
    for (const [j, row] of others.entries()) {
      const products = kernelOf(entered.length + j);
      for (let i = 0; i < count; i++) wanted[i]! -= residual[row]! * (products[i]! + 1);
    }

    // The border's rows, and below them what is wanted.
    const sides = new Float32Array((border + 1) * size);
    entered.forEach((_, j) => {
      const products = kernelOf(j);
      rows.forEach((row, i) => (sides[j * size + i] = products[row]! + 1));
    });
    left.forEach((row, j) => (sides[(entered.length + j) * size + places[row]!] = 1));
    rows.forEach((row, i) => (sides[border * size + i] = curvatures[row]! > 0 ? wanted[row]! : 0));
    const halves = await factor!.forward(sides, border + 1);
    const half = (j: number) => halves.subarray(j * size, (j + 1) * size);
    const last = half(border);
    if (border > 0) {
      const complement = new Float64Array(border * border);
      const multipliers = new Float64Array(border);
      for (let j = 0; j < border; j++) {
        const own = half(j);
        for (let k = 0; k <= j; k++) {
          let value = -inner(own, half(k));
          if (j < entered.length) value += kernelOf(j)[entered[k]!]! + 1 + (j === k ? 1 / curvatures[entered[j]!]! : 0);
          complement[j * border + k] = value;
          complement[k * border + j] = value;
        }
        multipliers[j] = (j < entered.length ? wanted[entered[j]!]! : 0) - inner(own, last);
      }
      solveQuasidefinite(complement, multipliers);
      for (let j = 0; j < border; j++) {
        const own = half(j);
        for (let i = 0; i < size; i++) last[i]! -= multipliers[j]! * own[i]!;
        if (j < entered.length) quotient[entered[j]!] = multipliers[j]!;
      }
    }
    const solution = await factor!.backward(last);
    rows.forEach((row, i) => {
      if (curvatures[row]! > 0) quotient[row] = solution[i]!;
    });
    return quotient;
  }

  private async kernelRows(rows: number[]): Promise<Float32Array> {
    if (rows.length === 0) return new Float32Array(0);
    const gathered = tf.tidy(() => tf.gather(this.gram, tf.tensor1d(rows, "int32")));
    const values = (await gathered.data()) as Float32Array;
    gathered.dispose();
    return values;
  }

  /** Drops the factor; the next `adapt` makes one. */
  forget(): void {
    this.factor?.dispose();
    this.factor = undefined;
    this.rows = [];
    this.places.fill(-1);
  }

  dispose(): void {
    this.forget();
  }
}

function inner(a: Float32Array, b: Float32Array): number {
  // Four sums at a time: each waits for its last addition.
  let [p, q, r, s] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 3 < a.length; i += 4) {
    p += a[i]! * b[i]!;
    q += a[i + 1]! * b[i + 1]!;
    r += a[i + 2]! * b[i + 2]!;
    s += a[i + 3]! * b[i + 3]!;
  }
  for (; i < a.length; i++) p += a[i]! * b[i]!;
  return p + q + (r + s);
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
