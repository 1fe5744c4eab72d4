import * as tf from "@tensorflow/tfjs";

import type { Column } from "./column.js";
import { exactScores, exactWeights } from "./exact-products.js";
import type { Basis } from "./preconditioner.js";
import type { SvmRows } from "./problem.js";
import { sideBySide, type RowProducts } from "./products.js";

/** One step of conjugate gradients for each column; over active rows it is mostly the only one of its Newton step. */
export async function advance(products: RowProducts, basis: Basis, stepping: Column[]): Promise<void> {
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

/** The same for one column, in double precision and without a preconditioner. */
export function advanceAlone(rows: SvmRows, column: Column): void {
  const vector = column.residual.slice();
  column.advance(vector, exactScores(rows, exactWeights(rows, vector)), 0, 0);
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
