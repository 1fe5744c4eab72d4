import fc from "fast-check";

import { binomialProbability, chiSquareTail, drawBinomial, logGamma } from "../../lib/metrics/distributions.js";
import {
  combineDependent,
  holm,
  mcNemar,
  mcNemarOfCounts,
  pairedBootstrap,
  wilsonInterval,
} from "../../lib/metrics/paired.js";
import { random } from "../../lib/random.js";
import { golden } from "../golden.js";
import "../properties.js";

interface Golden {
  mcnemar: { onlyFirst: number; onlySecond: number; exact: boolean; p: number }[];
  wilson: { right: number; n: number; interval: [number, number] }[];
  holm: { p: number[]; corrected: number[] }[];
  bootstrap: {
    seeds: number;
    steps: number[];
    difference: number;
    standardError: number;
    interval: [number, number];
    p: number;
  }[];
  distributions: {
    chiSquareTail: [x: number, tail: number][];
    binomial: [k: number, n: number, p: number, probability: number][];
    logGamma: [x: number, value: number][];
  };
}

const { distributions, ...expectedOf } = golden<Golden>("paired/tests.json");

/** Nearer than a millionth of a millionth of the value, or of 1 for values that are sums of larger ones. */
function expectNear(value: number, wanted: number, relative = 1e-12): void {
  expect(Math.abs(value - wanted)).toBeLessThanOrEqual(relative * Math.max(Math.abs(wanted), 1e-300));
}

describe("distributions", () => {
  test("equal SciPy's", () => {
    for (const [x, tail] of distributions.chiSquareTail) expectNear(chiSquareTail(x), tail);
    for (const [k, n, p, wanted] of distributions.binomial) expectNear(binomialProbability(k, n, p), wanted, 1e-9);
    for (const [x, value] of distributions.logGamma)
      expect(Math.abs(logGamma(x) - value)).toBeLessThan(1e-13 * (1 + value));
  });

  test.each([
    [1, 0.5],
    [7, 0.2],
    [400, 0.03],
    [50_000, 0.5],
  ])("draws of %i with probability %f have the binomial's mean, variance and probabilities", (n, p) => {
    const stream = random(1, "draws", n);
    const draws = Array.from({ length: 20_000 }, () => drawBinomial(n, p, stream));
    const mean = draws.reduce((sum, draw) => sum + draw, 0) / draws.length;
    const variance = draws.reduce((sum, draw) => sum + (draw - mean) ** 2, 0) / draws.length;
    expect(Math.abs(mean - n * p)).toBeLessThan(4 * Math.sqrt((n * p * (1 - p)) / draws.length));
    expect(Math.abs(variance / (n * p * (1 - p)) - 1)).toBeLessThan(0.06);
    const mode = Math.floor((n + 1) * p);
    for (const k of [mode, mode + 1, mode - 1].filter((k) => k >= 0 && k <= n)) {
      const wanted = binomialProbability(k, n, p);
      const share = draws.filter((draw) => draw === k).length / draws.length;
      expect(Math.abs(share - wanted)).toBeLessThan(4.5 * Math.sqrt((wanted * (1 - wanted)) / draws.length));
    }
  });

  test("draws of what cannot or must happen", () => {
    const stream = random(0, "edges");
    expect([drawBinomial(0, 0.5, stream), drawBinomial(9, 0, stream), drawBinomial(9, 1, stream)]).toEqual([0, 0, 9]);
  });
});

describe("mcNemar", () => {
  test.each(expectedOf.mcnemar)("equals statsmodels' for $onlyFirst against $onlySecond", ({ exact, p, ...counts }) => {
    const found = mcNemarOfCounts(counts);
    expect(found).toMatchObject({ ...counts, method: exact ? "exact" : "chi-square" });
    expectNear(found.p, p);
  });

  test("finds no difference where there are as many on both sides, or none", () => {
    for (const count of [0, 5, 12, 13, 400]) {
      expect(mcNemarOfCounts({ onlyFirst: count, onlySecond: count }).p).toBeCloseTo(1, 12);
    }
  });

  test("counts the images that one side alone is right on, and does not care which comes first", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(1), fc.nat(1)), { maxLength: 80 }), (pairs) => {
        const first = pairs.map(([one]) => one);
        const second = pairs.map(([, other]) => other);
        const found = mcNemar({ first, second });
        expect(found.onlyFirst).toBe(pairs.filter(([one, other]) => one > other).length);
        expect(found.onlySecond).toBe(pairs.filter(([one, other]) => one < other).length);
        expect(mcNemar({ first: second, second: first }).p).toBe(found.p);
        expect(found.p).toBeGreaterThan(0);
        expect(found.p).toBeLessThanOrEqual(1);
      }),
    );
  });

  test("refuses sides of unequal lengths", () => {
    expect(() => mcNemar({ first: [1, 0], second: [1] })).toThrow("Expected 2 images for the second side");
  });
});

describe("pairedBootstrap", () => {
  // SciPy draws other images, so the ends agree as far as 20,000 draws tell them.
  test.each(expectedOf.bootstrap)("agrees with SciPy's on $seeds seeds", (wanted) => {
    const differences = wanted.steps.map((step) => step / wanted.seeds);
    const found = pairedBootstrap({ differences, seed: 3, samples: 20_000 });
    expect(found.difference).toBeCloseTo(wanted.difference, 12);
    // The ends are multiples of one image in one seed.
    const step = 1 / (wanted.seeds * wanted.steps.length);
    found.interval.forEach((end, i) =>
      expect(Math.abs(end - wanted.interval[i]!)).toBeLessThanOrEqual(0.05 * wanted.standardError + step + 1e-12),
    );
    expect(Math.abs(found.p - wanted.p)).toBeLessThan(0.002 + 0.05 * wanted.p);
  });

  test("of nothing different is 0, surely", () => {
    const found = pairedBootstrap({ differences: new Float64Array(50), seed: 0 });
    expect(found).toEqual({ difference: 0, interval: [0, 0], p: 1 });
  });

  test("is the same under the same seed, another under another, and mirrored for the other direction", () => {
    const differences = Array.from({ length: 300 }, (_, i) => ((i * 7) % 5) - 1.8).map((x) => Math.sign(Math.round(x)));
    const one = pairedBootstrap({ differences, seed: 1, samples: 2000 });
    expect(pairedBootstrap({ differences, seed: 1, samples: 2000 })).toEqual(one);
    expect(pairedBootstrap({ differences, seed: 2, samples: 2000 }).interval).not.toEqual(one.interval);
    const mirrored = pairedBootstrap({ differences: differences.map((x) => -x), seed: 1, samples: 2000 });
    expect(mirrored.difference).toBeCloseTo(-one.difference, 12);
    expect(Math.abs(mirrored.interval[0] + one.interval[1])).toBeLessThan(0.01);
  });

  test("does not care how the images are ordered", () => {
    const differences = Array.from({ length: 200 }, (_, i) => ((i % 7) - 3) / 3);
    const order = random(5, "order").permutation(200);
    const shuffled = Array.from(order, (i) => differences[i]!);
    expect(pairedBootstrap({ differences: shuffled, seed: 0 })).toEqual(pairedBootstrap({ differences, seed: 0 }));
  });

  test("covers a known difference in about 95 of 100 samples of images, and errs as often as its p says", () => {
    const covered = { of: 0, falsely: 0 };
    const rounds = 300;
    for (let round = 0; round < rounds; round++) {
      const stream = random(round, "coverage");
      const draw = (right: number, wrong: number) =>
        Array.from({ length: 250 }, () => {
          const u = stream.uniform();
          return u < right ? 1 : u < right + wrong ? -1 : 0;
        });
      const known = pairedBootstrap({ differences: draw(0.2, 0.1), seed: round, samples: 600 });
      if (known.interval[0] <= 0.1 && 0.1 <= known.interval[1]) covered.of++;
      const none = pairedBootstrap({ differences: draw(0.15, 0.15), seed: round, samples: 600 });
      if (none.p < 0.05) covered.falsely++;
    }
    expect(covered.of / rounds).toBeGreaterThan(0.915);
    expect(covered.of / rounds).toBeLessThan(0.985);
    expect(covered.falsely / rounds).toBeLessThan(0.085);
    expect(covered.falsely / rounds).toBeGreaterThan(0.015);
  });

  test("refuses no images", () => {
    expect(() => pairedBootstrap({ differences: [], seed: 0 })).toThrow("Expected at least one image");
  });
});

describe("several tests", () => {
  test.each(expectedOf.holm)("Holm's correction of $p equals statsmodels'", ({ p, corrected }) => {
    holm(p).forEach((value, i) => expect(value).toBeCloseTo(corrected[i]!, 12));
  });

  test("one p-value of several that depend on each other: about twice the median", () => {
    expect(combineDependent([0.03])).toBe(0.03);
    expect(combineDependent([0.2, 0.01])).toBeCloseTo(0.02, 12);
    expect(combineDependent([0.5, 0.01, 0.04])).toBeCloseTo(0.06, 12);
    expect(combineDependent([0.9, 1, 0.8, 1])).toBe(1);
    expect(() => combineDependent([])).toThrow("Expected at least one p-value");
  });

  test("the same p-value of every seed is never made smaller", () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-9, max: 1, noNaN: true }), fc.integer({ min: 1, max: 9 }), (p, seeds) => {
        expect(combineDependent(Array.from({ length: seeds }, () => p))).toBeGreaterThanOrEqual(p);
      }),
    );
  });
});

describe("wilsonInterval", () => {
  test.each(expectedOf.wilson)("of $right of $n equals statsmodels'", ({ right, n, interval }) => {
    wilsonInterval({ share: right / n, n }).forEach((end, i) => expect(end).toBeCloseTo(interval[i]!, 12));
  });

  test("refuses what is no share, and no observations", () => {
    expect(() => wilsonInterval({ share: 1.1, n: 3 })).toThrow("Expected a number in [0, 1]");
    expect(() => wilsonInterval({ share: NaN, n: 3 })).toThrow("Expected a number in [0, 1]");
    expect(() => wilsonInterval({ share: 0.5, n: 0 })).toThrow("Expected at least one observation");
  });
});
