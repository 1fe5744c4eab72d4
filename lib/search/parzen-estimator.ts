import { chiSquareTail } from "../metrics/distributions.js";
import type { Random } from "../random.js";

/**
 * A density over the unit cube, made from points in it: one kernel a point, and one of the prior. A kernel is a product
 * of normal distributions, one a dimension, each cut off at 0 and 1. The prior's stands in the middle and is as wide as
 * the cube.
 *
 * Where points are dense, kernels are narrow: a standard deviation is the larger of the distances to the two neighbours
 * in that dimension. The outermost points have one neighbour; a single point has the walls. It is at least
 * 1/(points + 2) (the "magic clip"), or 1/100 where that is more, and at most 1. The latest 25 points weigh 1, as the
 * prior does; the older ones the less the older they are.
 *
 * Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization (2011), with the widths and weights of Optuna
 * 5.0 (`optuna/samplers/_tpe/parzen_estimator.py`). Optuna's multivariate estimators up to 4 had one width for all
 * kernels.
 */
export interface ParzenEstimator {
  /** Of each kernel, the prior's last; their sum is 1. Shape [kernels]. */
  weights: number[];
  /** Shape [kernels, dimensions]. */
  means: number[][];
  /** Before the cut at 0 and 1. Shape [kernels, dimensions]. */
  sigmas: number[][];
  /** The logarithm of weight × density at the mean. Shape [kernels]. */
  logPeaks: number[];
}

/** @param points in [0, 1], the oldest first. Shape [points, dimensions]; there may be none. */
export function parzenEstimator(points: number[][], dimensions: number): ParzenEstimator {
  const means = [...points, new Array<number>(dimensions).fill(1 / 2)];
  const widths = Array.from({ length: dimensions }, (_, d) => [...widthsOf(points.map((point) => point[d]!)), 1]);
  const sigmas = means.map((_, kernel) => widths.map((own) => own[kernel]!));
  const unscaled = [...agedWeights(points.length), 1];
  const total = unscaled.reduce((sum, weight) => sum + weight, 0);
  const weights = unscaled.map((weight) => weight / total);
  const logPeaks = weights.map((weight, kernel) =>
    sigmas[kernel]!.reduce((sum, sigma, d) => sum + logPeak(means[kernel]![d]!, sigma), Math.log(weight)),
  );
  return { weights, means, sigmas, logPeaks };
}

/** Standard deviations of the kernels at `values`, in their order. */
function widthsOf(values: number[]): number[] {
  const n = values.length;
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const edges = [0, ...order.map((i) => values[i]!), 1];
  const least = 1 / Math.min(100, n + 2);
  const widths = new Array<number>(n);
  for (const [place, i] of order.entries()) {
    const below = edges[place + 1]! - edges[place]!;
    const above = edges[place + 2]! - edges[place + 1]!;
    const width =
      n === 1 ? Math.max(below, above) : place === 0 ? above : place === n - 1 ? below : Math.max(below, above);
    widths[i] = Math.min(1, Math.max(least, width));
  }
  return widths;
}

const latest = 25;

/** 1 for the latest; before them from 1/n, of the oldest, in equal steps to 1. */
function agedWeights(n: number): number[] {
  const aged = n - latest;
  return Array.from({ length: n }, (_, i) =>
    i >= aged ? 1 : aged === 1 ? 1 / n : 1 / n + ((1 - 1 / n) * i) / (aged - 1),
  );
}

/** Of a normal distribution that is cut off at 0 and 1: the logarithm of its density at its mean, which lies between. */
function logPeak(mean: number, sigma: number): number {
  const beyond = (distance: number) => chiSquareTail((distance / sigma) ** 2) / 2;
  const mass = 1 - beyond(mean) - beyond(1 - mean);
  return -Math.log(sigma * Math.sqrt(2 * Math.PI) * mass);
}

/** A point of the density. Shape [dimensions]. */
export function drawPoint({ weights, means, sigmas }: ParzenEstimator, stream: Random): number[] {
  let left = stream.uniform();
  const found = weights.findIndex((weight) => (left -= weight) < 0);
  const kernel = found < 0 ? weights.length - 1 : found;
  return means[kernel]!.map((mean, d) => {
    // At least a third of a kernel lies inside, for its mean does and it is no wider than the cube.
    for (;;) {
      const value = mean + sigmas[kernel]![d]! * stream.normal();
      if (value >= 0 && value <= 1) return value;
    }
  });
}

/** The logarithm of the density at a point of the unit cube. */
export function logDensity({ means, sigmas, logPeaks }: ParzenEstimator, point: number[]): number {
  const logs = logPeaks.map((peak, kernel) =>
    point.reduce((sum, value, d) => sum - ((value - means[kernel]![d]!) / sigmas[kernel]![d]!) ** 2 / 2, peak),
  );
  const largest = Math.max(...logs);
  return largest + Math.log(logs.reduce((sum, log) => sum + Math.exp(log - largest), 0));
}
