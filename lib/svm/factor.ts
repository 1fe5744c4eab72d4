import * as tf from "@tensorflow/tfjs";

import { cholesky } from "../matrices/cholesky.js";

/** L of a symmetric positive definite matrix L·Lᵀ, of which single precision is enough. */
export interface Factor {
  /** L⁻¹·b, [size, columns]. */
  forward(b: tf.Tensor2D): tf.Tensor2D;
  /** L⁻ᵀ·b, [size, columns]. */
  backward(b: tf.Tensor2D): tf.Tensor2D;
  dispose(): void;
}

/** What the native backend (tfjs-node's) has beyond others: it runs any of TensorFlow's operations by name. */
interface NativeBackend {
  binding: Record<"TF_ATTR_TYPE" | "TF_ATTR_BOOL" | "TF_FLOAT", number>;
  executeSingleOutput(
    name: string,
    attributes: { name: string; type: number; value: unknown }[],
    inputs: tf.Tensor[],
  ): tf.Tensor;
}

/** How fast a factor is made, in parts of the speed of products of matrices. */
export function factorSpeed(): number {
  return isNative(tf.backend()) ? 0.4 : 0.02;
}

/**
 * The factor of a matrix, [size, size] row by row, of which the lower half is read. Where rounding leaves it not
 * positive definite, something is added to its diagonal.
 */
export function factorOf(matrix: Float32Array, size: number): Factor {
  const backend: unknown = tf.backend();
  return isNative(backend) ? nativeFactor(backend, matrix, size) : plainFactor(matrix, size);
}

/** By TensorFlow's own kernels. */
function nativeFactor(backend: NativeBackend, matrix: Float32Array, size: number): Factor {
  const { binding } = backend;
  const type = { name: "T", type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT };
  const flag = (name: string, value: boolean) => ({ name, type: binding.TF_ATTR_BOOL, value });
  const attempt = () => {
    const found = tf.tidy(() => backend.executeSingleOutput("Cholesky", [type], [tf.tensor2d(matrix, [size, size])]));
    // Of a matrix that is not positive definite TensorFlow gives a factor that is no number.
    const last = tf.tidy(() => tf.slice(found, [size - 1, size - 1], [1, 1]));
    const [value] = last.dataSync<"float32">();
    last.dispose();
    if (Number.isFinite(value)) return found;
    found.dispose();
    return undefined;
  };
  let largest = 0;
  for (let i = 0; i < size; i++) largest = Math.max(largest, matrix[i * size + i]!);
  let factor = attempt();
  for (let shift = 1e-6 * largest; !factor; shift *= 10) {
    for (let i = 0; i < size; i++) matrix[i * size + i]! += shift;
    factor = attempt();
  }
  const found = factor;
  const solve = (b: tf.Tensor2D, adjoint: boolean) =>
    backend.executeSingleOutput(
      "MatrixTriangularSolve",
      [flag("lower", true), flag("adjoint", adjoint), type],
      [found, b],
    ) as tf.Tensor2D;
  return {
    forward: (b) => solve(b, false),
    backward: (b) => solve(b, true),
    dispose: () => found.dispose(),
  };
}

function plainFactor(matrix: Float32Array, size: number): Factor {
  const { rows: triangle } = cholesky(matrix, size);
  const solved = (b: tf.Tensor2D, solve: (x: Float32Array, columns: number) => void) => {
    const x = b.dataSync<"float32">().slice();
    solve(x, b.shape[1]);
    return tf.tensor2d(x, b.shape);
  };
  const subtract = (x: Float32Array, columns: number, from: number, row: number, times: number) => {
    if (times === 0) return;
    for (let c = 0; c < columns; c++) x[from * columns + c]! -= times * x[row * columns + c]!;
  };
  const divide = (x: Float32Array, columns: number, row: number) => {
    for (let c = 0; c < columns; c++) x[row * columns + c]! /= triangle[row * size + row]!;
  };
  return {
    forward: (b) =>
      solved(b, (x, columns) => {
        for (let i = 0; i < size; i++) {
          for (let j = 0; j < i; j++) subtract(x, columns, i, j, triangle[i * size + j]!);
          divide(x, columns, i);
        }
      }),
    backward: (b) =>
      solved(b, (x, columns) => {
        for (let i = size - 1; i >= 0; i--) {
          divide(x, columns, i);
          for (let j = 0; j < i; j++) subtract(x, columns, j, i, triangle[i * size + j]!);
        }
      }),
    dispose: () => {},
  };
}

function isNative(backend: unknown): backend is NativeBackend {
  return typeof backend === "object" && backend !== null && "binding" in backend && "executeSingleOutput" in backend;
}
