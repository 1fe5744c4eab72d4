import { random } from "../../lib/random.js";
import { drawPoint, logDensity, type ParzenEstimator, parzenEstimator } from "../../lib/search/parzen-estimator.js";
import { shareOf } from "../../lib/search/range.js";
import { openStudy } from "../../lib/search/study.js";
import type { Goal, StudySpace, StudyTrial } from "../../lib/search/study-trial.js";
import { goodAndBad, suggest } from "../../lib/search/tpe.js";
import { golden } from "../golden.js";

/** In Optuna's coordinates: logarithms where the scale is logarithmic. */
interface GoldenEstimator {
  weights: number[];
  /** Shape [dimensions, kernels]. */
  means: number[][];
  sigmas: number[][];
  /** At the case's points. */
  logDensities: number[];
}

interface Case {
  space: StudySpace;
  goal: Goal;
  trials: Omit<StudyTrial, "number">[];
  points: Record<string, number>[];
  good: GoldenEstimator;
  bad: GoldenEstimator;
}

const { cases } = golden<{ cases: Case[] }>("tpe/estimators.json");

describe.each(cases)(
  "the densities of $trials.length trials are Optuna's",
  ({ space, goal, trials, points, ...both }) => {
    const numbered = trials.map((trial, number) => ({ ...trial, number }));
    const found = goodAndBad({ space, goal, trials: numbered });
    const ranges = Object.values(space);
    const ends = ranges.map(({ from, to, scale }) => (scale === "log" ? [Math.log(from), Math.log(to)] : [from, to]));

    test.each(["good", "bad"] as const)("%s trials", (side) => {
      const { weights, means, sigmas, logDensities } = both[side];
      const own: ParzenEstimator = found[side];
      expect(own.weights).toHaveLength(weights.length);
      weights.forEach((weight, kernel) => {
        expect(own.weights[kernel]).toBeCloseTo(weight, 12);
        ends.forEach(([low, high], d) => {
          const extent = high! - low!;
          expect(own.means[kernel]![d]).toBeCloseTo((means[d]![kernel]! - low!) / extent, 12);
          expect(own.sigmas[kernel]![d]).toBeCloseTo(sigmas[d]![kernel]! / extent, 12);
        });
      });
      const logVolume = ends.reduce((sum, [low, high]) => sum + Math.log(high! - low!), 0);
      points.forEach((point, i) => {
        const inCube = Object.entries(space).map(([name, range]) => shareOf(range, point[name]!));
        expect(logDensity(own, inCube) - logVolume).toBeCloseTo(logDensities[i]!, 10);
      });
    });
  },
);

describe("a Parzen estimator", () => {
  const points = [
    [0.1, 0.9],
    [0.15, 0.2],
    [1, 0],
  ];
  const estimator = parzenEstimator(points, 2);

  test("is a density: its integral over the unit cube is 1", () => {
    const n = 200;
    let sum = 0;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) sum += Math.exp(logDensity(estimator, [(i + 0.5) / n, (j + 0.5) / n]));
    }
    expect(sum / n ** 2).toBeCloseTo(1, 4);
  });

  test("draws points as its density says", () => {
    const stream = random(0, "draws");
    const n = 4000;
    const drawn = Array.from({ length: n }, () => drawPoint(estimator, stream));
    expect(drawn.flat().every((value) => value >= 0 && value <= 1)).toBe(true);
    // Eight by eight cells: Pearson's statistic has 63 degrees of freedom, and exceeds 104 once in a thousand times.
    const [cells, fine] = [8, 10];
    const counts = new Float64Array(cells ** 2);
    for (const [x, y] of drawn)
      counts[Math.min(cells - 1, Math.floor(x! * cells)) * cells + Math.min(cells - 1, Math.floor(y! * cells))]!++;
    const expectedOf = (cell: number) => {
      let sum = 0;
      for (let i = 0; i < fine ** 2; i++) {
        const x = (Math.floor(cell / cells) + (Math.floor(i / fine) + 0.5) / fine) / cells;
        const y = ((cell % cells) + ((i % fine) + 0.5) / fine) / cells;
        sum += Math.exp(logDensity(estimator, [x, y]));
      }
      return (n * sum) / (fine * cells) ** 2;
    };
    const statistic = counts.reduce((sum, count, cell) => sum + (count - expectedOf(cell)) ** 2 / expectedOf(cell), 0);
    expect(statistic).toBeLessThan(104);
  });

  test("without points it is the prior, symmetric about the middle", () => {
    const prior = parzenEstimator([], 1);
    expect(prior.weights).toEqual([1]);
    expect(logDensity(prior, [0.2])).toBeCloseTo(logDensity(prior, [0.8]), 12);
    expect(logDensity(prior, [0.5])).toBeGreaterThan(logDensity(prior, [0.2]));
  });
});

test("the best of 30 trials is distributed as Optuna's", () => {
  const optunas = golden<number[]>("tpe/bests.json");
  const { space } = cases[0]!;
  const valueOf = ({ lr, weightDecay }: Record<string, number>) =>
    (Math.log10(lr!) - 1) ** 2 + (Math.log10(lr! * weightDecay!) + 6) ** 2 / 8;
  const own = Array.from({ length: 50 }, (_, seed) => {
    const study = openStudy({ space, goal: "minimize", seed });
    for (let i = 0; i < 30; i++) {
      study.tell(study.ask(1).map(({ number, parameters }) => ({ number, value: valueOf(parameters) })));
    }
    return study.best()!.value;
  });
  // The statistic of Kolmogorov and Smirnov, which exceeds 0.338 once in a thousand times for 50 and 100 values.
  const below = (values: number[], limit: number) => values.filter((value) => value <= limit).length / values.length;
  const apart = [...own, ...optunas].map((value) => Math.abs(below(own, value) - below(optunas, value)));
  expect(Math.max(...apart)).toBeLessThan(0.338);
});

describe("suggest", () => {
  const space: StudySpace = {
    lr: { from: 0.1, to: 100, scale: "log" },
    weightDecay: { from: 1e-12, to: 1e-4, scale: "log" },
  };
  const complete = (number: number, lr: number, value: number): StudyTrial => {
    return { number, parameters: { lr, weightDecay: 1e-8 }, state: "complete", value };
  };
  // The best at a rate of 10.
  const seen = Array.from({ length: 20 }, (_, i) => {
    const lr = 0.1 * 1000 ** (i / 19);
    return complete(i, lr, -Math.abs(Math.log10(lr) - 1));
  });

  test("goes where the good trials are, either way round", () => {
    const distance = (trials: StudyTrial[], goal: Goal) => {
      const all = Array.from({ length: 40 }, (_, seed) => suggest({ space, goal, seed, trials }).lr!);
      return all.reduce((sum, lr) => sum + Math.abs(Math.log10(lr) - 1), 0) / all.length;
    };
    // Uniform draws lie 0.83 from it on average.
    expect(distance(seen, "maximize")).toBeLessThan(0.3);
    expect(distance(seen, "minimize")).toBeGreaterThan(0.8);
    const mirrored = seen.map((trial) => ({ ...trial, value: -trial.value! }));
    expect(distance(mirrored, "minimize")).toBe(distance(seen, "maximize"));
  });

  test("learns nothing from trials that failed", () => {
    const failed = seen.map((trial): StudyTrial => ({ ...trial, state: "failed", value: undefined }));
    const before = failed.slice(0, 12).map((trial, number) => ({ ...trial, number }));
    expect(suggest({ space, goal: "maximize", seed: 3, trials: before })).toEqual(
      suggest({ space, goal: "minimize", seed: 3, trials: seen.slice(0, 9).concat(before.slice(9)) }),
    );
  });
});
