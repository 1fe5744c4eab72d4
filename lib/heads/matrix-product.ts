import * as tf from "@tensorflow/tfjs";

/**
 * Native TensorFlow reads a transposed operand as fast as a plain one. WebAssembly's product is ten times slower with
 * one, so there the operand is transposed first.
 */
export function readsTransposed(): boolean {
  return tf.getBackend() === "tensorflow";
}

/** aᵀ·b, matrix by matrix: [n, k, r] and [n, k, c] → [n, r, c]. */
export function transposedTimes(a: tf.Tensor3D, b: tf.Tensor3D): tf.Tensor3D {
  return readsTransposed() ? tf.matMul(a, b, true) : tf.matMul(kept.get(a) ?? tf.transpose(a, [0, 2, 1]), b);
}

/** Operands that are transposed once for many products. */
const kept = new WeakMap<tf.Tensor3D, tf.Tensor3D>();

/** Transposes an operand once for all products with it, where that is needed; the copy lives as long as its tidy. */
export function keepTransposed(a: tf.Tensor3D): void {
  if (!readsTransposed()) kept.set(a, tf.transpose(a, [0, 2, 1]));
}

/** a·bᵀ, matrix by matrix: [n, r, k] and [n, c, k] → [n, r, c]. */
export function timesTransposed(a: tf.Tensor3D, b: tf.Tensor3D): tf.Tensor3D {
  return readsTransposed() ? tf.matMul(a, b, false, true) : tf.matMul(a, tf.transpose(b, [0, 2, 1]));
}
