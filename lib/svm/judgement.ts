import * as tf from "@tensorflow/tfjs";

import type { Column } from "./column.js";
import { exactScores, exactWeights } from "./exact-products.js";
import type { SvmRows, SvmSolution } from "./problem.js";
import { sideBySide, type RowProducts } from "./products.js";

/** Weights that may be good enough at a cost; lists go by rows. */
export interface Candidate {
  cost: number;
  /** That led there, at this cost. */
  steps: number;
  coefficients: Float32Array | Float64Array;
  duals: Float32Array | Float64Array;
  squaredDistance?: number;
}

/** What weights come to. */
export interface Judgement {
  /** Of the weights, with the bias. */
  scores: Float64Array;
  objective: number;
  gap: number;
  converged: boolean;
}

/** A candidate of a column, which may have gone on. */
export interface Posed {
  column: Column;
  candidate: Candidate;
}

export interface Judged extends Posed {
  weights: Float32Array;
  bias: number;
  judgement: Judgement;
}

export function solutionOf({ column, candidate, weights, bias, judgement }: Judged): SvmSolution {
  const { objective, gap, converged, scores } = judgement;
  const { cost, steps } = candidate;
  const found = { weights, bias, objective, gap, steps, converged };
  return { problem: column.index, cost, scores: new Float32Array(scores), ...found };
}

/** Judges candidates by the scores that their weights have. */
export async function judge(rows: SvmRows, products: RowProducts, posed: Posed[]): Promise<Judged[]> {
  const { count, width } = rows;
  const { stride } = products;
  const candidates = posed.map(({ candidate }) => candidate);
  const asked = candidates.filter(({ squaredDistance }) => squaredDistance === undefined);
  const [weights, scores, dualWeights] = tf.tidy(() => {
    const w = products.weights(sideBySide(candidates.map(({ coefficients }) => coefficients)));
    const duals = asked.map((candidate) => candidate.duals);
    return [w, products.scores(w), ...(asked.length > 0 ? [products.weights(sideBySide(duals))] : [])] as const;
  });
  const weightData = await weights.data<"float32">();
  const scoreData = await scores.data<"float32">();
  const dualWeightData = (await dualWeights?.data<"float32">()) ?? new Float32Array(0);
  tf.dispose([weights, scores]);
  dualWeights?.dispose();
  return posed.map(({ column, candidate }, j) => {
    const { exact } = column;
    const { coefficients, duals } = candidate;
    const own = exact ? exactWeights(rows, coefficients) : weightData.subarray(j * stride, j * stride + width);
    const bias = sum(coefficients);
    const ownScores = exact ? exactScores(rows, own) : new Float64Array(scoreData.subarray(j * count, (j + 1) * count));
    for (let i = 0; i < count; i++) ownScores[i]! += bias;
    let { squaredDistance } = candidate;
    if (squaredDistance === undefined) {
      const at = asked.indexOf(candidate) * stride;
      const other = exact ? exactWeights(rows, duals) : dualWeightData.subarray(at, at + width);
      squaredDistance = (bias - sum(duals)) ** 2;
      for (let i = 0; i < width; i++) squaredDistance += (own[i]! - other[i]!) ** 2;
    }
    let squaredNorm = bias ** 2;
    for (let i = 0; i < width; i++) squaredNorm += own[i]! ** 2;
    const judgement = column.judgement({ candidate, scores: ownScores, squaredNorm, squaredDistance });
    return { column, candidate, weights: new Float32Array(own), bias, judgement };
  });
}

function sum(values: Float32Array | Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
