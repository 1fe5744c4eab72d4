import * as tf from "@tensorflow/tfjs";

import { cholesky } from "./cholesky.js";

/** L of a symmetric positive definite matrix L·Lᵀ, of which single precision is enough. */
export interface Factor {
  /** L⁻¹·b of each b; they lie as rows of [rows, size]. */
  forward(b: Float32Array, rows: number): Promise<Float32Array>;
  /** L⁻ᵀ·b. */
  backward(b: Float32Array): Promise<Float32Array>;
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

/** The factor of `matrix` + `diagonal`; [size, size] and [size]. */
export async function factorOf(matrix: tf.Tensor2D, diagonal: Float64Array): Promise<Factor> {
  const backend: unknown = tf.backend();
  return isNative(backend) ? nativeFactor(backend, matrix, diagonal) : plainFactor(matrix, diagonal);
}

/** By TensorFlow's own kernels. */
function nativeFactor(backend: NativeBackend, matrix: tf.Tensor2D, diagonal: Float64Array): Factor {
  const { binding } = backend;
  const size = diagonal.length;
  const type = { name: "T", type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT };
  const flag = (name: string, value: boolean) => ({ name, type: binding.TF_ATTR_BOOL, value });
  const factor = tf.tidy(() => {
    const shifted = tf.add(matrix, tf.diag(tf.tensor1d(Float32Array.from(diagonal))));
    return backend.executeSingleOutput("Cholesky", [type], [shifted]);
  });
  const solve = async (b: Float32Array, rows: number, adjoint: boolean) => {
    const x = tf.tidy(() => {
      const columns = tf.transpose(tf.tensor2d(b, [rows, size]));
      const attributes = [flag("lower", true), flag("adjoint", adjoint), type];
      return tf.transpose(backend.executeSingleOutput("MatrixTriangularSolve", attributes, [factor, columns]));
    });
    const values = (await x.data()) as Float32Array;
    x.dispose();
    return values;
  };
  return {
    forward: (b, rows) => solve(b, rows, false),
    backward: (b) => solve(b, 1, true),
    dispose: () => factor.dispose(),
  };
}

async function plainFactor(matrix: tf.Tensor2D, diagonal: Float64Array): Promise<Factor> {
  const size = diagonal.length;
  const sum = Float64Array.from(await matrix.data());
  diagonal.forEach((value, i) => (sum[i * size + i]! += value));
  const { rows: triangle } = cholesky(sum, size);
  return {
    forward: (b, rows) => {
      const x = b.slice();
      for (let at = 0; at < rows * size; at += size) {
        for (let i = 0; i < size; i++) {
          let rest = x[at + i]!;
          for (let j = 0; j < i; j++) rest -= triangle[i * size + j]! * x[at + j]!;
          x[at + i] = rest / triangle[i * size + i]!;
        }
      }
      return Promise.resolve(x);
    },
    backward: (b) => {
      const x = b.slice();
      for (let i = size - 1; i >= 0; i--) {
        x[i]! /= triangle[i * size + i]!;
        for (let j = 0; j < i; j++) x[j]! -= triangle[i * size + j]! * x[i]!;
      }
      return Promise.resolve(x);
    },
    dispose: () => {},
  };
}

function isNative(backend: unknown): backend is NativeBackend {
  return typeof backend === "object" && backend !== null && "binding" in backend && "executeSingleOutput" in backend;
}
