import * as tf from "@tensorflow/tfjs";

import { transposedTimes } from "../heads/matrix-product.js";
import { cholesky, independent, inverse, solve, type Triangle } from "../matrices/cholesky.js";
import { random } from "../random.js";
import type { RowProducts } from "./products.js";

/**
 * The strongest directions of the weights, U, found by randomised subspace iteration (Halko, Martinsson, Tropp, 2011).
 * They lie in the span of the rows, U = Xᵀ·lift, and have scores X·U.
 */
export interface Basis {
  rank: number;
  count: number;
  /** [rank, count] */
  lift: tf.Tensor2D;
  /** [count, rank] */
  scores: tf.Tensor2D;
  /** Of each row, the squared length of what the directions leave over. */
  rest: Float64Array;
  dispose(): void;
}

/** A preconditioner serves as long as the curvatures change by less than this share. */
const stale = 0.03;

export async function strongestDirections(options: {
  products: RowProducts;
  count: number;
  rank: number;
  squaredLengths: Float64Array;
}): Promise<Basis> {
  const { products, count, rank, squaredLengths } = options;
  const stream = random(0, "strongest directions");
  // Sums of four uniform numbers are near enough to normal.
  const start = Float32Array.from(
    { length: rank * count },
    () => stream.uniform() + stream.uniform() - stream.uniform() - stream.uniform(),
  );
  const kernel = (v: tf.Tensor2D) => tf.tidy(() => tf.add<tf.Tensor2D>(products.kernel(v), tf.sum(v, 1, true)));
  let vectors = tf.tensor2d(start, [rank, count]);
  const replace = (next: tf.Tensor2D) => {
    vectors.dispose();
    vectors = next;
  };
  for (let pass = 0; pass < 3; pass++) {
    replace(kernel(vectors));
    await orthogonalise(vectors, vectors, replace);
    await orthogonalise(vectors, vectors, replace);
  }
  // Directions in which no row extends are rounding only.
  const lengths = kernel(vectors);
  const inner = tf.tidy(() => tf.matMul(vectors, tf.transpose(lengths)));
  const kept = independent(await inner.data(), vectors.shape[0], 1e-5);
  tf.dispose([lengths, inner]);
  replace(tf.tidy(() => tf.gather(vectors, tf.tensor1d(kept, "int32"))));
  // Now to unit length as weights: lift · K · liftᵀ = I. The second time mends what rounding left.
  for (let pass = 0; pass < 2; pass++) {
    const scores = kernel(vectors);
    await orthogonalise(vectors, scores, replace);
    scores.dispose();
  }
  const scores = tf.tidy(() => tf.transpose(kernel(vectors)));
  const squares = tf.tidy(() => tf.sum(tf.square(scores), 1));
  const found = await squares.data();
  squares.dispose();
  const rest = squaredLengths.map((length, i) => Math.max(0, length - found[i]!));
  return {
    rank: kept.length,
    count,
    lift: vectors,
    scores,
    rest,
    dispose: () => tf.dispose([vectors, scores]),
  };
}

/** Makes `vectors` · `others`ᵀ the identity. Both are [rank, count]. */
async function orthogonalise(
  vectors: tf.Tensor2D,
  others: tf.Tensor2D,
  replace: (next: tf.Tensor2D) => void,
): Promise<void> {
  const rank = vectors.shape[0];
  const products = tf.tidy(() => tf.matMul(vectors, tf.transpose(others)));
  const triangle = cholesky(await products.data(), rank, 1e-7);
  products.dispose();
  replace(tf.tidy(() => tf.matMul(tf.tensor2d(inverse(triangle), [rank, rank]), vectors)));
}

/**
 * What a column's residual is divided by: I + Uᵀ·H·U among the strongest directions, where H is the losses' part of the
 * Hessian, and a number in all others (Frangella, Tropp, Udell, Randomized Nyström Preconditioning, 2023).
 */
export class Preconditioner {
  /** In all directions but the strongest. */
  rest = 1;
  private strong: Triangle | undefined;
  /** Curvatures in units of the largest; `sum` is that of the rows' scores of U, weighted by these. */
  private readonly shares: Float64Array;
  private readonly sum: Float64Array;
  private largest = 0;

  constructor(
    private readonly basis: Basis,
    private readonly width: number,
  ) {
    this.shares = new Float64Array(basis.rest.length);
    this.sum = new Float64Array(basis.rank ** 2);
  }

  /** Adapts to other curvatures, unless they are near to those that it is made for. */
  async adapt(curvatures: Float64Array): Promise<void> {
    const largest = curvatures.reduce((a, b) => Math.max(a, b), Number.MIN_VALUE);
    let change = 0;
    let whole = 0;
    for (let i = 0; i < curvatures.length; i++) {
      change += Math.abs(curvatures[i]! - this.largest * this.shares[i]!);
      whole += curvatures[i]!;
    }
    if (this.strong && change <= stale * whole) return;
    await this.addChanges(curvatures, largest);
    const { rank, rest } = this.basis;
    const matrix = this.sum.map((value) => largest * value);
    for (let i = 0; i < rank; i++) matrix[i * rank + i]! += 1;
    this.strong = cholesky(matrix, rank);
    let left = 0;
    let active = 0;
    for (let i = 0; i < curvatures.length; i++) {
      left += curvatures[i]! * rest[i]!;
      if (curvatures[i]! > 0) active++;
    }
    this.rest = 1 + left / Math.max(1, Math.min(active, this.width));
  }

  /** The sum changes by the rows whose shares do, which are few from step to step, and none from cost to cost. */
  private async addChanges(curvatures: Float64Array, largest: number): Promise<void> {
    const rows: number[] = [];
    const changes: number[] = [];
    for (let i = 0; i < curvatures.length; i++) {
      const share = curvatures[i]! / largest;
      if (share === this.shares[i]) continue;
      rows.push(i);
      changes.push(share - this.shares[i]!);
      this.shares[i] = share;
    }
    this.largest = largest;
    if (rows.length === 0) return;
    const change = tf.tidy(() => {
      const scores = tf.gather(this.basis.scores, tf.tensor1d(rows, "int32"));
      const weighted = tf.mul(scores, tf.tensor2d(changes, [rows.length, 1]));
      return transposedTimes(weighted.expandDims(0), scores.expandDims(0));
    });
    const values = await change.data();
    change.dispose();
    for (let i = 0; i < values.length; i++) this.sum[i]! += values[i]!;
  }

  /**
   * Completes the division of a residual by `rest`: c, its part along the strongest directions, becomes what is to be
   * added there.
   *
   * @returns what that adds to the product of the residual and its quotient.
   */
  complete(c: Float64Array): number {
    const before = c.slice();
    solve(this.strong!, c);
    let product = 0;
    for (let i = 0; i < c.length; i++) {
      c[i]! -= before[i]! / this.rest;
      product += c[i]! * before[i]!;
    }
    return product;
  }
}
