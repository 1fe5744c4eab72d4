import { expected } from "../errors.js";

export interface AveragePrecisionOptions {
  /** Any monotone score of one class. Shape [n]. */
  scores: ArrayLike<number>;
  /** At least 1 (how often it is there): positive; 0: negative; −1: unknown, left out. Shape [n]. */
  targets: ArrayLike<number>;
}

/**
 * The area under the precision-recall curve whose precision is made to fall: at each recall the best precision at this
 * or a higher recall (PASCAL VOC since 2010; VISSL's SVMs and its mean AP meter). Among equal scores the later row
 * comes first, as in VISSL where its sort is stable.
 *
 * @returns in [0, 1]; NaN where there is no positive.
 */
export function allPointsAveragePrecision(options: AveragePrecisionOptions): number {
  const { right, positives } = rankedTargets(options, "later first");
  let area = 0;
  let best = 0;
  let hits = positives;
  for (let rank = right.length - 1; rank >= 0; rank--) {
    if (!right[rank]) continue;
    best = Math.max(best, hits-- / (rank + 1));
    area += best;
  }
  return area / positives;
}

/**
 * The mean of the best precision at recalls of at least 0, 0.1, …, 1 (PASCAL VOC until 2009). Among equal scores the
 * earlier row comes first.
 *
 * @returns in [0, 1]; NaN where there is no positive.
 */
export function elevenPointAveragePrecision(options: AveragePrecisionOptions): number {
  const { right, positives } = rankedTargets(options, "earlier first");
  if (positives === 0) return NaN;
  const best = new Float64Array(11);
  let hits = 0;
  right.forEach((isRight, rank) => {
    if (!isRight) return;
    hits++;
    best.forEach((precision, point) => {
      // In float64, as NumPy's arange(0, 1.1, 0.1) has it: 3 × 0.1 lies above 0.3, which a recall of 0.3 does not
      // reach.
      if (hits / positives >= point * 0.1) best[point] = Math.max(precision, hits / (rank + 1));
    });
  });
  return best.reduce((sum, precision) => sum + precision, 0) / 11;
}

/**
 * The sum over the distinct scores, from the highest, of the gain in recall × the precision there, without any
 * interpolation; equal scores are one step (scikit-learn's `average_precision_score`, which VISSL cross-validates by).
 *
 * @returns in [0, 1]; 0 where there is no positive, as scikit-learn says.
 */
export function stepAveragePrecision(options: AveragePrecisionOptions): number {
  const { right, positives, ordered } = rankedTargets(options, "earlier first");
  let area = 0;
  let hits = 0;
  let hitsBefore = 0;
  right.forEach((isRight, rank) => {
    if (isRight) hits++;
    if (rank + 1 < right.length && ordered[rank + 1] === ordered[rank]) return;
    area += (hits - hitsBefore) * (hits / (rank + 1));
    hitsBefore = hits;
  });
  return positives === 0 ? 0 : area / positives;
}

/** Precision at each recall that is new: where a positive is found, from the highest score. */
export interface PrecisionRecall {
  /** Rising to 1. Shape [positives]. */
  recall: Float64Array;
  precision: Float64Array;
}

/** The precision-recall curve whose falling envelope {@link allPointsAveragePrecision} is the area under. */
export function precisionRecall(options: AveragePrecisionOptions): PrecisionRecall {
  const { right, positives } = rankedTargets(options, "later first");
  const ranks = right.flatMap((isRight, rank) => (isRight ? [rank + 1] : []));
  return {
    recall: Float64Array.from(ranks, (_, hit) => (hit + 1) / positives),
    precision: Float64Array.from(ranks, (rank, hit) => (hit + 1) / rank),
  };
}

export interface MeanAveragePrecisionOptions {
  /** Row by row. Shape [n, classes]. */
  scores: ArrayLike<number>;
  /** As of one class, row by row. Shape [n, classes]. */
  targets: ArrayLike<number>;
  classes: number;
}

export interface MeanAveragePrecision {
  /** Over the classes with a positive, in [0, 1]; NaN where no class has one. */
  mean: number;
  /** All-points AP of each class; NaN where it has no positive. */
  perClass: Float64Array;
}

/**
 * VISSL's `mean_ap_list_meter` (which reports −1 for a class without a positive, and the mean in percent).
 *
 * @throws UserError where scores and targets are not [n, classes] both.
 */
export function meanAveragePrecision(options: MeanAveragePrecisionOptions): MeanAveragePrecision {
  const { scores, targets, classes } = options;
  if (scores.length !== targets.length || targets.length % classes !== 0) {
    throw expected(`${targets.length} scores in rows of ${classes}`, "the average precision", scores.length);
  }
  const column = (matrix: ArrayLike<number>, c: number) =>
    Float64Array.from({ length: matrix.length / classes }, (_, row) => matrix[row * classes + c]!);
  const perClass = Float64Array.from({ length: classes }, (_, c) =>
    allPointsAveragePrecision({ scores: column(scores, c), targets: column(targets, c) }),
  );
  const counted = perClass.filter((ap) => !Number.isNaN(ap));
  return { mean: counted.reduce((sum, ap) => sum + ap, 0) / counted.length, perClass };
}

interface Ranked {
  /** Whether a rank holds a positive. */
  right: boolean[];
  positives: number;
  /** The scores in the order of ranks, falling. */
  ordered: Float64Array;
}

/** The known rows by falling score; a score that is not a number comes last, for it ranks nothing. */
function rankedTargets({ scores, targets }: AveragePrecisionOptions, ties: "earlier first" | "later first"): Ranked {
  if (scores.length !== targets.length) {
    throw expected(`${targets.length} scores`, "the average precision", scores.length);
  }
  const known: number[] = [];
  for (let i = 0; i < targets.length; i++) {
    const target = targets[i]!;
    if (!Number.isInteger(target) || target < -1) throw expected("1, 0 or -1", "a target", target);
    if (target >= 0) known.push(i);
  }
  const score = Float64Array.from(scores, (value) => (Number.isNaN(value) ? -Infinity : value));
  const earlier = ties === "earlier first" ? 1 : -1;
  known.sort((a, b) => (score[a] === score[b] ? earlier * (a - b) : score[b]! - score[a]!));
  const right = known.map((i) => targets[i]! > 0);
  return {
    right,
    positives: right.filter(Boolean).length,
    ordered: Float64Array.from(known, (i) => score[i]!),
  };
}
