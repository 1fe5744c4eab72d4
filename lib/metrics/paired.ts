import { expected } from "../errors.js";
import { random, type Random } from "../random.js";
import { binomialProbability, chiSquareTail, drawBinomial } from "./distributions.js";

export interface PairedBootstrap {
  /** The mean of the differences. */
  difference: number;
  /** Percentile interval at 95 %: the 2.5th and 97.5th percentile of the resampled means. */
  interval: [low: number, high: number];
  /** Two-sided, in (0, 1]; told at {@link pairedBootstrap}. */
  p: number;
}

/**
 * Paired bootstrap of a difference over images: images are drawn with replacement, each with all that both sides said
 * of it, and the mean difference is taken anew each time.
 *
 * p is the smallest error level at which the percentile interval leaves out 0: with B resamples of which b⁻ have a mean
 * of at most 0 and b⁺ of at least 0, min(1, 2 · (1 + min(b⁻, b⁺)) / (B + 1)). It is never 0.
 *
 * An image enters a mean by its difference alone. So not the images are drawn but how often each value of a difference
 * comes (a multinomial draw), which has the same distribution and takes a time that hardly grows with n.
 *
 * Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 15.
 *
 * @param options.differences of each image, e.g. the share of seeds that are right on one side less the other's.
 * Shape [n]; few different values.
 * @param options.samples B.
 */
export function pairedBootstrap(options: {
  differences: ArrayLike<number>;
  seed: number;
  samples?: number;
}): PairedBootstrap {
  const { differences, seed, samples = 10_000 } = options;
  const n = differences.length;
  if (n === 0) throw expected("at least one image", "the paired bootstrap", n);
  const counts = new Map<number, number>();
  for (let i = 0; i < n; i++) counts.set(differences[i]!, (counts.get(differences[i]!) ?? 0) + 1);
  const values = [...counts].sort(([x], [y]) => x - y);
  const stream = random(seed, "paired bootstrap");
  const means = Float64Array.from({ length: samples }, () => resampledMean(values, n, stream)).sort();
  const below = means.filter((mean) => mean <= 0).length;
  const above = means.filter((mean) => mean >= 0).length;
  return {
    difference: withoutRounding(values.reduce((sum, [value, count]) => sum + value * count, 0) / n),
    interval: [percentile(means, 0.025), percentile(means, 0.975)],
    p: Math.min(1, (2 * (1 + Math.min(below, above))) / (samples + 1)),
  };
}

function resampledMean(values: [value: number, count: number][], n: number, stream: Random): number {
  let [drawn, among, sum] = [n, n, 0];
  for (const [value, count] of values) {
    const times = drawBinomial(drawn, count / among, stream);
    sum += value * times;
    drawn -= times;
    among -= count;
  }
  return withoutRounding(sum / n);
}

/** Thirds and the like do not add up to 0 exactly; a mean is 0 or at least 1 in images × seeds. */
function withoutRounding(mean: number): number {
  return Math.abs(mean) < 1e-13 ? 0 : mean;
}

/** Linear between the two nearest, as NumPy's default. */
function percentile(sorted: Float64Array, share: number): number {
  const place = share * (sorted.length - 1);
  const lower = Math.floor(place);
  const [low, high] = [sorted[lower]!, sorted[Math.min(lower + 1, sorted.length - 1)]!];
  return low + (high - low) * (place - lower);
}

export interface McNemar {
  /** Images that only the first, and only the second side is right on. */
  onlyFirst: number;
  onlySecond: number;
  method: "exact" | "chi-square";
  /** Two-sided, in (0, 1]. */
  p: number;
}

/** From so many discordant images on, chi-square is near enough; the usual bound. */
const fewDiscordant = 25;

/**
 * McNemar's test whether two classifiers are right on equally many images, from those that just one is right on: the
 * exact binomial test below 25 of them, else chi-square with Edwards's continuity correction, (|b − c| − 1)² / (b + c).
 *
 * Source: McNemar, Psychometrika 12 (1947); Edwards, Psychometrika 13 (1948).
 *
 * @param options.first 1 where the first side is right, else 0. Shape [n].
 * @param options.second the same of the second side, on the same images in the same order.
 */
export function mcNemar(options: { first: ArrayLike<number>; second: ArrayLike<number> }): McNemar {
  const { first, second } = options;
  if (first.length !== second.length) throw expected(`${first.length} images`, "the second side", second.length);
  let [onlyFirst, onlySecond] = [0, 0];
  for (let i = 0; i < first.length; i++) {
    if (first[i]! > second[i]!) onlyFirst++;
    if (first[i]! < second[i]!) onlySecond++;
  }
  return mcNemarOfCounts({ onlyFirst, onlySecond });
}

/** As {@link mcNemar}, from the counts. */
export function mcNemarOfCounts({ onlyFirst, onlySecond }: Pick<McNemar, "onlyFirst" | "onlySecond">): McNemar {
  const discordant = onlyFirst + onlySecond;
  if (discordant < fewDiscordant) {
    let tail = 0;
    for (let k = 0; k <= Math.min(onlyFirst, onlySecond); k++) tail += binomialProbability(k, discordant, 0.5);
    return { onlyFirst, onlySecond, method: "exact", p: Math.min(1, 2 * tail) };
  }
  const statistic = Math.max(0, Math.abs(onlyFirst - onlySecond) - 1) ** 2 / discordant;
  return { onlyFirst, onlySecond, method: "chi-square", p: chiSquareTail(statistic) };
}

/**
 * One p-value of several that may depend on each other in any way, such as one a seed on the same images:
 * min(1, m / k · p₍ₖ₎) of m p-values with k = ⌈m / 2⌉, about twice their median. Adding up the counts of all seeds
 * instead would count every image several times, and find differences that are none.
 *
 * Source: Rüger, Metrika 25 (1978).
 */
export function combineDependent(pValues: readonly number[]): number {
  const sorted = [...pValues].sort((x, y) => x - y);
  const k = Math.ceil(sorted.length / 2);
  if (k === 0) throw expected("at least one p-value", "their combination", 0);
  return Math.min(1, (sorted.length / k) * sorted[k - 1]!);
}

/**
 * Holm's correction of the p-values of several tests: the chance to find any difference that is none stays below the
 * level.
 *
 * Source: Holm, Scandinavian Journal of Statistics 6 (1979).
 *
 * @returns corrected p-values, in the order given.
 */
export function holm(pValues: readonly number[]): number[] {
  const order = pValues.map((_, i) => i).sort((i, j) => pValues[i]! - pValues[j]!);
  const corrected = [...pValues];
  let largest = 0;
  order.forEach((i, rank) => {
    largest = Math.max(largest, Math.min(1, (pValues.length - rank) * pValues[i]!));
    corrected[i] = largest;
  });
  return corrected;
}

/**
 * Wilson's score interval of a share at 95 %.
 *
 * Source: Wilson, Journal of the American Statistical Association 22 (1927).
 *
 * @param options.share in [0, 1].
 * @param options.n observations, at least 1.
 */
export function wilsonInterval({ share, n }: { share: number; n: number }): [low: number, high: number] {
  if (!(share >= 0 && share <= 1)) throw expected("a number in [0, 1]", "the share of Wilson's interval", share);
  if (!(n >= 1)) throw expected("at least one observation", "Wilson's interval", n);
  const z = 1.959963984540054;
  const middle = (share + z ** 2 / (2 * n)) / (1 + z ** 2 / n);
  const reach = (z / (1 + z ** 2 / n)) * Math.sqrt((share * (1 - share)) / n + z ** 2 / (4 * n ** 2));
  // At the ends the interval reaches exactly 0 and 1, whatever rounding says.
  return [share === 0 ? 0 : middle - reach, share === 1 ? 1 : middle + reach];
}
