import type { SvmRows } from "./problem.js";

/** Xᵀ·coefficients in double precision. */
export function exactWeights(rows: SvmRows, coefficients: Float32Array | Float64Array): Float64Array {
  const weights = new Float64Array(rows.width);
  eachRow(rows, (row, block, at) => {
    const beta = coefficients[row]!;
    if (beta !== 0) for (let i = 0; i < rows.width; i++) weights[i]! += beta * block[at + i]!;
  });
  return weights;
}

/** X·weights in double precision. */
export function exactScores(rows: SvmRows, weights: Float32Array | Float64Array): Float64Array {
  const scores = new Float64Array(rows.count);
  eachRow(rows, (row, block, at) => {
    let sum = 0;
    for (let i = 0; i < rows.width; i++) sum += weights[i]! * block[at + i]!;
    scores[row] = sum;
  });
  return scores;
}

function eachRow(rows: SvmRows, visit: (row: number, block: Float32Array, at: number) => void): void {
  let row = 0;
  for (const block of rows.blocks) for (let at = 0; at < block.length; at += rows.width) visit(row++, block, at);
}
