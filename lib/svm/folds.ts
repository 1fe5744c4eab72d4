import { expected } from "../errors.js";

/**
 * The folds of a cross-validation: each holds its share of every class, and nothing is drawn. The rows of a class go to
 * the folds in their order, in runs; how many of them a fold gets, dealing out all rows sorted by class decides.
 *
 * Source: scikit-learn, `StratifiedKFold` without shuffling.
 *
 * @param options.labels of the rows, whatever numbers. Classes count in the order in which they are first met.
 * @param options.folds at least 2.
 * @returns the fold that each row is held out in, in [0, folds).
 */
export function stratifiedFolds({ labels, folds }: { labels: ArrayLike<number>; folds: number }): Int32Array {
  if (!Number.isInteger(folds) || folds < 2) throw expected("a whole number of at least 2", "the folds", folds);
  const rowsByClass = new Map<number, number[]>();
  for (let row = 0; row < labels.length; row++) {
    const rows = rowsByClass.get(labels[row]!);
    if (rows) rows.push(row);
    else rowsByClass.set(labels[row]!, [row]);
  }
  const foldOf = new Int32Array(labels.length);
  let dealt = 0;
  for (const rows of rowsByClass.values()) {
    const counts = new Int32Array(folds);
    for (let i = 0; i < rows.length; i++) counts[dealt++ % folds]!++;
    let at = 0;
    counts.forEach((count, fold) => {
      for (const end = at + count; at < end; at++) foldOf[rows[at]!] = fold;
    });
  }
  return foldOf;
}
