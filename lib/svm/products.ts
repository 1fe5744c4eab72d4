import * as tf from "@tensorflow/tfjs";

import { readsTransposed, timesTransposed } from "../heads/matrix-product.js";
import type { SvmRows } from "./problem.js";

/**
 * The heavy products. X is all rows, with zeros behind some of them, [count, stride]; a column of coefficients v stands
 * for the weights Xᵀv, and its scores are X·Xᵀv. Columns lie as rows of [k, count].
 */
export interface RowProducts {
  /** Features of a row, and the zeros behind. */
  readonly stride: number;
  /** [k, count] → [k, stride]: Xᵀv. */
  weights(coefficients: tf.Tensor2D): tf.Tensor2D;
  /** [k, stride] → [k, count]: X·w. */
  scores(weights: tf.Tensor2D): tf.Tensor2D;
  /** [k, count] → [k, count]: X·Xᵀv, through the Gram matrix where it has been made. */
  kernel(coefficients: tf.Tensor2D): tf.Tensor2D;
  /** Makes the Gram matrix for `kernel` if for so many columns it pays. */
  expect(columns: number): void;
  /** X·Xᵀ, [count, count] row by row, where it costs less than so many columns of `kernel`. */
  gram(columns: number): Float32Array | undefined;
  dispose(): void;
}

/** Rows of the Gram matrix that are made at a time. */
const gramRows = 1024;

/** Gram matrices with more rows (400 MB) are not made. */
const gramLimit = 10_000;

export function rowProducts(rows: SvmRows): RowProducts {
  const { count, width } = rows;
  const stride = strideOf(width);
  const blocks = rows.blocks.map((block) => spaced(block, width, stride));
  let gram: Float32Array | undefined;
  let gramTensor: tf.Tensor2D | undefined;

  const weights = (coefficients: tf.Tensor2D): tf.Tensor2D =>
    tf.tidy(() => {
      let begin = 0;
      const parts = blocks.map((block) => {
        const size = block.shape[0];
        const part = size === count ? coefficients : coefficients.slice([0, begin], [-1, size]);
        begin += size;
        return tf.matMul<tf.Tensor2D>(part, block);
      });
      return parts.length === 1 ? parts[0]! : tf.addN<tf.Tensor2D>(parts);
    });

  const scores = (w: tf.Tensor2D): tf.Tensor2D =>
    tf.tidy(() => {
      const transposed = readsTransposed() ? undefined : tf.transpose<tf.Tensor2D>(w);
      const parts = blocks.map((block) =>
        transposed
          ? tf.transpose<tf.Tensor2D>(tf.matMul<tf.Tensor2D>(block, transposed))
          : tf.matMul<tf.Tensor2D>(w, block, false, true),
      );
      return parts.length === 1 ? parts[0]! : tf.concat<tf.Tensor2D>(parts, 1);
    });

  return {
    stride,
    weights,
    scores,
    kernel: (coefficients) =>
      gramTensor ? tf.matMul(coefficients, gramTensor) : tf.tidy(() => scores(weights(coefficients))),
    expect: (columns) => {
      const saved = (4 * width - 2 * count) * columns;
      if (gramTensor || count > gramLimit || saved <= count * width) return;
      gram ??= gramMatrix(blocks, count);
      gramTensor = tf.tensor2d(gram, [count, count]);
    },
    gram: (columns) => {
      if (count > gramLimit || 4 * columns < count) return undefined;
      return (gram ??= gramMatrix(blocks, count));
    },
    dispose: () => tf.dispose([...blocks, ...(gramTensor ? [gramTensor] : [])]),
  };
}

/**
 * Rows are to be no multiple of 2 kB apart: a product that reads a column of such finds all of it in the same few
 * places of the cache, and takes twice as long.
 */
function strideOf(width: number): number {
  return width % 512 === 0 ? width + 16 : width;
}

function spaced(block: Float32Array, width: number, stride: number): tf.Tensor2D {
  const rows = tf.tensor2d(block, [block.length / width, width]);
  if (stride === width) return rows;
  const found = tf.pad(rows, [
    [0, 0],
    [0, stride - width],
  ]);
  rows.dispose();
  return found;
}

/** X·Xᵀ by strips of rows up to the diagonal; what lies above it is taken from below. */
function gramMatrix(blocks: tf.Tensor2D[], count: number): Float32Array {
  const gram = new Float32Array(count * count);
  const parts: { block: tf.Tensor2D; from: number; begin: number; size: number }[] = [];
  let begin = 0;
  for (const block of blocks) {
    for (let from = 0; from < block.shape[0]; from += gramRows) {
      const size = Math.min(gramRows, block.shape[0] - from);
      parts.push({ block, from, begin, size });
      begin += size;
    }
  }
  for (const [i, own] of parts.entries()) {
    for (const other of parts.slice(0, i + 1)) {
      const product = tf.tidy(() => {
        const [a, b] = [own, other].map(({ block, from, size }) => block.slice([from, 0], [size, -1]).expandDims(0));
        return timesTransposed(a as tf.Tensor3D, b as tf.Tensor3D);
      });
      const values = product.dataSync<"float32">();
      product.dispose();
      for (let row = 0; row < own.size; row++) {
        const strip = values.subarray(row * other.size, (row + 1) * other.size);
        gram.set(strip, (own.begin + row) * count + other.begin);
      }
    }
  }
  mirror(gram, count);
  return gram;
}

/** Rows and columns that are mirrored at a time, which the cache has room for. */
const tile = 32;

/** Copies what lies below the diagonal to above it. */
function mirror(matrix: Float32Array, size: number): void {
  for (let top = 0; top < size; top += tile) {
    const bottom = Math.min(size, top + tile);
    for (let left = 0; left <= top; left += tile) {
      for (let i = top; i < bottom; i++) {
        const right = Math.min(i, left + tile);
        for (let j = left; j < right; j++) matrix[j * size + i] = matrix[i * size + j]!;
      }
    }
  }
}

/** Vectors of a number a row as one tensor, [vectors, rows]. */
export function sideBySide(vectors: (Float32Array | Float64Array)[]): tf.Tensor2D {
  const count = vectors[0]!.length;
  const all = new Float32Array(vectors.length * count);
  vectors.forEach((vector, j) => all.set(vector, j * count));
  return tf.tensor2d(all, [vectors.length, count]);
}
