import fc from "fast-check";

import { UserError } from "../../lib/errors.js";
import { learningRateFactor, type Schedule } from "../../lib/optim/schedule.js";
import { type CandidateScore, fullMoment, halve, planHalving, promoted } from "../../lib/search/halving.js";

import "../properties.js";

const score = (value: number, loss = 1, diverged = false): CandidateScore => ({ score: value, loss, diverged });

describe("planHalving", () => {
  test("trains all briefly, a quarter longer, three to the end, in a quarter of the work", () => {
    const { rungs, cost } = planHalving({ candidates: 32, epochs: 28 });
    expect(rungs).toEqual([
      { trials: 32, epochs: 1, rateFactor: Math.sqrt(28) },
      { trials: 8, epochs: 6, rateFactor: Math.sqrt(28 / 6) },
      { trials: 3, epochs: 28, rateFactor: 1 },
    ]);
    expect(cost).toBeCloseTo((34 * 1 + 10 * 6 + 5 * 28) / (34 * 28), 10);
  });

  test("begins with all, ends with all epochs, and costs what it says", () => {
    const sizes = { candidates: fc.integer({ min: 1, max: 600 }), epochs: fc.integer({ min: 1, max: 120 }) };
    fc.assert(
      fc.property(fc.record({ ...sizes, overhead: fc.integer({ min: 0, max: 20 }) }), (options) => {
        const { rungs, cost } = planHalving(options);
        expect(rungs[0]!.trials).toBe(options.candidates);
        expect(rungs.at(-1)).toMatchObject({ epochs: options.epochs, rateFactor: 1 });
        for (const [i, rung] of rungs.entries()) {
          expect(Number.isInteger(rung.epochs) && rung.epochs >= 1 && Number.isInteger(rung.trials)).toBe(true);
          if (i === 0) continue;
          expect(rung.trials).toBeLessThan(rungs[i - 1]!.trials);
          expect(rung.epochs).toBeGreaterThan(rungs[i - 1]!.epochs);
          expect(rung.trials).toBeGreaterThanOrEqual(2);
        }
        const work = rungs.reduce((sum, { trials, epochs }) => sum + epochs * (trials + options.overhead), 0);
        expect(cost).toBeCloseTo(work / (options.epochs * (options.candidates + options.overhead)), 8);
        expect(cost).toBeLessThanOrEqual(1);
        if (options.candidates >= 24 && options.epochs >= 12 && options.overhead <= 2) {
          expect(cost).toBeLessThanOrEqual(1 / 4 + 1e-9);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("does not halve what is few already", () => {
    expect(planHalving({ candidates: 2, epochs: 28 }).rungs).toEqual([{ trials: 2, epochs: 28, rateFactor: 1 }]);
    expect(planHalving({ candidates: 50, epochs: 1 }).rungs).toEqual([{ trials: 50, epochs: 1, rateFactor: 1 }]);
  });

  test.each([
    [{ candidates: 0, epochs: 3 }, "Expected at least one candidate for halving but received 0"],
    [{ candidates: 3, epochs: 0.5 }, "Expected at least one epoch for halving but received 0.5"],
  ])("refuses %j", (options, message) => {
    expect(() => planHalving(options)).toThrow(UserError);
    expect(() => planHalving(options)).toThrow(message);
  });
});

describe("fullMoment", () => {
  const stepsPerEpoch = 7;
  const factors = (schedule: Schedule, epochs: number, all: number) =>
    Array.from({ length: epochs * stepsPerEpoch }, (_, i) => {
      const moment = { epoch: Math.floor(i / stepsPerEpoch), epochs, step: i % stepsPerEpoch, stepsPerEpoch };
      return learningRateFactor(schedule, fullMoment(moment, all));
    });

  test("gives the last rung its own moments", () => {
    const moment = { epoch: 3, epochs: 28, step: 2, stepsPerEpoch };
    expect(fullMoment(moment, 28)).toEqual(moment);
  });

  test("reaches each milestone at its share of the steps", () => {
    const schedule: Schedule = { kind: "multistep", milestones: [8, 16, 24], gamma: 0.1 };
    const found = factors(schedule, 2, 28);
    // 14 steps: the rate falls at 2/7, 4/7 and 6/7 of them.
    const exponents = found.map((factor) => Math.round(Math.log10(1 / factor)));
    expect(exponents).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3]);
  });

  test("keeps a cosine's shape", () => {
    factors({ kind: "cosine", per: "step" }, 3, 28).forEach((factor, i) =>
      expect(factor).toBeCloseTo(0.5 * (1 + Math.cos((Math.PI * i) / (3 * stepsPerEpoch))), 10),
    );
  });
});

describe("promoted", () => {
  const keepOf = (scores: CandidateScore[], keep: number, rates = scores.map((_, i) => i + 1)) =>
    promoted({ scores: new Map(scores.entries()), rates, keep, images: 100 });

  test("takes the highest scores, and of equal ones the lower loss", () => {
    expect(keepOf([score(0.5), score(0.7), score(0.6, 2), score(0.6, 1)], 2)).toEqual([1, 3]);
  });

  test("takes a twin only where there is room", () => {
    // 0, 1 and 2 differ by at most an image and a hundredth of the loss.
    const scores = [score(0.8, 1), score(0.79, 1.01), score(0.79, 1.005), score(0.6, 1.5), score(0.5, 1.6)];
    expect(keepOf(scores, 2)).toEqual([0, 3]);
    expect(keepOf(scores, 4)).toEqual([0, 2, 3, 4]);
    expect(keepOf(scores, 5)).toEqual([0, 1, 2, 3, 4]);
  });

  test("tells apart equal scores of different losses", () => {
    expect(keepOf([score(0.8, 1), score(0.8, 1.2), score(0.5, 1)], 2)).toEqual([0, 1]);
  });

  test("takes what diverged last, and of that the smallest rates", () => {
    const lost = score(0, NaN, true);
    expect(keepOf([lost, score(0.1), lost, lost], 2, [3, 1, 2, 4])).toEqual([1, 2]);
    expect(keepOf([lost, lost, lost], 2, [3, 1, 2])).toEqual([1, 2]);
  });
});

describe("halve", () => {
  test("each head keeps its own best, and every rung trains its survivors from the plan", async () => {
    const { rungs } = planHalving({ candidates: 40, epochs: 28 });
    const peaks = [5, 31];
    const trained: number[][][] = [];
    const { chosen, scores } = await halve({
      heads: 2,
      rates: Array.from({ length: 40 }, (_, i) => i + 1),
      rungs,
      images: 1000,
      evaluate: async (survivors, rung, index) => {
        expect(rung).toBe(rungs[index]);
        trained.push(survivors);
        return survivors.map((candidates, head) =>
          candidates.map((candidate) => score(1 - Math.abs(candidate - peaks[head]!) / 40)),
        );
      },
    });
    expect(chosen).toEqual(peaks);
    trained.forEach((survivors, index) => {
      for (const candidates of survivors) expect(candidates).toHaveLength(rungs[index]!.trials);
    });
    expect(trained.at(-1)![0]).toContain(5);
    expect(trained.at(-1)![1]).toContain(31);
    const count = (head: number) => scores[head]!.reduce((sum, ofCandidate) => sum + ofCandidate.length, 0);
    expect(count(0)).toBe(rungs.reduce((sum, { trials }) => sum + trials, 0));
  });

  test("chooses the first of equal scores in the last rung, and none that diverged", async () => {
    const scores = [score(0.9, 1, true), score(0.5, 3), score(0.5, 1)];
    const rungs = [{ trials: 3, epochs: 4, rateFactor: 1 }];
    const evaluate = async () => [scores];
    const { chosen } = await halve({ heads: 1, rates: [1, 2, 3], rungs, images: 10, evaluate });
    expect(chosen).toEqual([1]);
  });
});
