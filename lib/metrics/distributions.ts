import type { Random } from "../random.js";

/** ln Γ(x) for x > 0, to some 14 digits: Stirling's series, moved up to where it is that exact. */
export function logGamma(x: number): number {
  let z = x;
  let product = 1;
  for (; z < 15; z++) product *= z;
  const w = 1 / (z * z);
  const series = (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / z;
  return (z - 0.5) * Math.log(z) - z + 0.5 * Math.log(2 * Math.PI) + series - Math.log(product);
}

/** P(X = k) for X of the binomial distribution of n draws, each with probability p in (0, 1). */
export function binomialProbability(k: number, n: number, p: number): number {
  const ways = logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1);
  return Math.exp(ways + k * Math.log(p) + (n - k) * Math.log1p(-p));
}

/** P(X > x) for X of the chi-square distribution with one degree of freedom, x ≥ 0. */
export function chiSquareTail(x: number): number {
  const half = x / 2;
  // The incomplete gamma function at a = 1/2: a series for its lower part, a continued fraction for its upper part.
  return half < 1.5 ? 1 - lowerGamma(half) : upperGamma(half);
}

const a = 0.5;
const scale = (x: number) => Math.exp(-x + a * Math.log(x) - logGamma(a));

function lowerGamma(x: number): number {
  if (x === 0) return 0;
  let term = 1 / a;
  let sum = term;
  for (let n = a + 1; term > sum * 1e-17; n++) {
    term *= x / n;
    sum += term;
  }
  return sum * scale(x);
}

/** The continued fraction by Lentz's method. */
function upperGamma(x: number): number {
  let b = x + 1 - a;
  let c = Infinity;
  let d = 1 / b;
  let fraction = d;
  for (let i = 1; i < 500; i++) {
    const numerator = -i * (i - a);
    b += 2;
    d = 1 / (numerator * d + b);
    c = b + numerator / c;
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-16) break;
  }
  return fraction * scale(x);
}

/**
 * A draw of the binomial distribution, by inversion from the mode outwards: one uniform number, and some multiples of
 * √n steps.
 */
export function drawBinomial(n: number, p: number, stream: Random): number {
  if (n === 0 || p <= 0) return 0;
  if (p >= 1) return n;
  const odds = p / (1 - p);
  const mode = Math.min(n, Math.floor((n + 1) * p));
  let [low, high] = [mode, mode];
  let below = binomialProbability(mode, n, p);
  let above = below;
  let left = stream.uniform() - below;
  while (left >= 0 && (low > 0 || high < n) && (below > 0 || above > 0)) {
    if (high < n) {
      above *= ((n - high) / (high + 1)) * odds;
      high++;
      left -= above;
      if (left < 0) return high;
    }
    if (low > 0) {
      below *= low / ((n - low + 1) * odds);
      low--;
      left -= below;
      if (left < 0) return low;
    }
  }
  return mode;
}
