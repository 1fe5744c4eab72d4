/** A lower triangular matrix L, row by row. */
export interface Triangle {
  size: number;
  rows: Float64Array;
}

/**
 * L·Lᵀ = matrix, for a symmetric matrix [size, size] of which the lower half is read. Where it is not positive definite
 * to `relativeShift` of its largest diagonal element, that much is added to the diagonal.
 */
export function cholesky(matrix: ArrayLike<number>, size: number, relativeShift = 0): Triangle {
  let largest = 0;
  for (let i = 0; i < size; i++) largest = Math.max(largest, matrix[i * size + i]!);
  for (let shift = relativeShift * largest; ; shift = Math.max(10 * shift, 1e-14 * largest, Number.MIN_VALUE)) {
    const rows = factor(matrix, size, shift);
    if (rows) return { size, rows };
  }
}

function factor(matrix: ArrayLike<number>, size: number, shift: number): Float64Array | undefined {
  const rows = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    const at = i * size;
    for (let j = 0; j <= i; j++) {
      const other = j * size;
      let a = 0;
      let b = 0;
      let k = 0;
      for (; k + 1 < j; k += 2) {
        a += rows[at + k]! * rows[other + k]!;
        b += rows[at + k + 1]! * rows[other + k + 1]!;
      }
      if (k < j) a += rows[at + k]! * rows[other + k]!;
      const rest = matrix[at + j]! - a - b;
      if (j < i) rows[at + j] = rest / rows[other + j]!;
      else if (rest + shift > 0) rows[at + j] = Math.sqrt(rest + shift);
      else return undefined;
    }
  }
  return rows;
}

/** Solves L·Lᵀ x = b in place; b is `size` numbers from `at`. */
export function solve(triangle: Triangle, b: Float64Array, at = 0): void {
  const { size, rows } = triangle;
  for (let i = 0; i < size; i++) {
    let sum = b[at + i]!;
    for (let j = 0; j < i; j++) sum -= rows[i * size + j]! * b[at + j]!;
    b[at + i] = sum / rows[i * size + i]!;
  }
  for (let i = size - 1; i >= 0; i--) {
    const x = b[at + i]! / rows[i * size + i]!;
    b[at + i] = x;
    for (let j = 0; j < i; j++) b[at + j]! -= rows[i * size + j]! * x;
  }
}

/** L⁻¹, row by row. */
export function inverse(triangle: Triangle): Float32Array {
  const { size, rows } = triangle;
  const inverse = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    const diagonal = rows[i * size + i]!;
    for (let k = 0; k < i; k++) {
      const l = rows[i * size + k]!;
      for (let j = 0; j <= k; j++) inverse[i * size + j]! -= l * inverse[k * size + j]!;
    }
    for (let j = 0; j < i; j++) inverse[i * size + j]! /= diagonal;
    inverse[i * size + i] = 1 / diagonal;
  }
  return Float32Array.from(inverse);
}

/**
 * Rows and columns of a symmetric positive semidefinite matrix of which none nearly follows from those before it:
 * chosen by the largest rest on the diagonal, down to `relativeTolerance` of the largest diagonal element.
 */
export function independent(matrix: ArrayLike<number>, size: number, relativeTolerance: number): number[] {
  const rest = Float64Array.from({ length: size }, (_, i) => matrix[i * size + i]!);
  const least = relativeTolerance * Math.max(...rest);
  const columns: Float64Array[] = [];
  const chosen: number[] = [];
  while (chosen.length < size) {
    let next = 0;
    for (let i = 1; i < size; i++) if (rest[i]! > rest[next]!) next = i;
    if (!(rest[next]! > least)) break;
    const root = Math.sqrt(rest[next]!);
    const column = Float64Array.from({ length: size }, (_, i) => {
      let value = matrix[i * size + next]!;
      for (const other of columns) value -= other[i]! * other[next]!;
      return value / root;
    });
    for (let i = 0; i < size; i++) rest[i]! -= column[i]! ** 2;
    for (const i of chosen) rest[i] = 0;
    rest[next] = 0;
    columns.push(column);
    chosen.push(next);
  }
  return chosen.sort((a, b) => a - b);
}
