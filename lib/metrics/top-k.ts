import { expected } from "../errors.js";

export interface TopKOptions {
  /** Row by row. Shape [n, classes]. */
  scores: Float32Array;
  /** Class index of each row, in [0, classes). Shape [n]. */
  labels: ArrayLike<number>;
  classes: number;
}

/**
 * The rank of the true class in each row, from 0: the number of classes before it, by score and, among equal scores, by
 * index (the order in which NumPy's and PyTorch's argmax resolve ties). A row with a NaN among its scores has the last
 * rank, for it ranks nothing.
 *
 * @returns shape [n]. A row is right in the top k where its rank is less than k.
 */
export function ranks({ scores, labels, classes }: TopKOptions): Int32Array {
  const n = labels.length;
  if (scores.length !== n * classes) throw expected(`${n} × ${classes} scores`, "the ranking", scores.length);
  return Int32Array.from({ length: n }, (_, row) => {
    const start = row * classes;
    const label = labels[row]!;
    const truth = scores[start + label]!;
    let rank = 0;
    for (let c = 0; c < classes; c++) {
      const score = scores[start + c]!;
      if (score !== score) return classes - 1;
      if (score > truth || (score === truth && c < label)) rank++;
    }
    return rank;
  });
}

/** The share of rows whose true class is among the first k, in [0, 1]; NaN where there is no row. */
export function topKAccuracy(rankOfTruth: ArrayLike<number>, k: number): number {
  let right = 0;
  for (let i = 0; i < rankOfTruth.length; i++) if (rankOfTruth[i]! < k) right++;
  return right / rankOfTruth.length;
}
