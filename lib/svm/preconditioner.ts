import * as tf from "@tensorflow/tfjs";

import { transposedTimes } from "../heads/matrix-product.js";
import { random } from "../random.js";
import { cholesky, inverse, solve, type Triangle } from "./cholesky.js";
import type { RowProducts } from "./products.js";

/**
 * The strongest directions of the weights, U, found by randomised subspace iteration (Halko, Martinsson, Tropp, 2011).
 * They lie in the span of the rows, U = Xᵀ·lift, and have scores X·U.
 */
export interface Basis {
  rank: number;
  /** [rank, count] */
  lift: tf.Tensor2D;
  /** [count, rank] */
  scores: tf.Tensor2D;
  /** Of each row, the squared length of what the directions leave over. */
  rest: Float64Array;
  dispose(): void;
}

/** What a column's residual is divided by; several problems may share one. */
export interface Preconditioner {
  /** Of all directions but the strongest. */
  rest: number;
  /** Among the strongest: I + UᵀXᵀ·curvatures·X·U. */
  strong: Triangle;
}

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
  const kernel = (v: tf.Tensor2D) => tf.tidy(() => tf.add(products.kernel(v), tf.sum(v, 1, true)) as tf.Tensor2D);
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
    rank,
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

/** The preconditioner of the Hessian with these curvatures of the rows' losses. */
export async function preconditioner(basis: Basis, curvatures: Float64Array, width: number): Promise<Preconditioner> {
  const { rank, scores } = basis;
  const strong = tf.tidy(() => {
    const weights = tf.tensor2d(Float32Array.from(curvatures), [curvatures.length, 1]);
    return transposedTimes(tf.mul(scores, weights).expandDims(0), scores.expandDims(0)).squeeze<tf.Tensor2D>([0]);
  });
  const matrix = Float64Array.from(await strong.data());
  strong.dispose();
  for (let i = 0; i < rank; i++) matrix[i * rank + i]! += 1;
  let rest = 0;
  let active = 0;
  for (let i = 0; i < curvatures.length; i++) {
    rest += curvatures[i]! * basis.rest[i]!;
    if (curvatures[i]! > 0) active++;
  }
  return {
    rest: 1 + rest / Math.max(1, Math.min(active, width)),
    strong: cholesky(matrix, rank),
  };
}

/** c → (strong⁻¹ − 1 / rest) c, in place. */
export function applyStrong(preconditioner: Preconditioner, c: Float64Array, at: number): void {
  const { strong, rest } = preconditioner;
  const before = c.slice(at, at + strong.size);
  solve(strong, c, at);
  for (let i = 0; i < strong.size; i++) c[at + i]! -= before[i]! / rest;
}
