import fc from "fast-check";

import { UserError } from "../../lib/errors.js";
import { learningRateFactor, type Schedule } from "../../lib/optim/schedule.js";
import { type CandidateScore, fullMoment, halve, planHalving, promoted } from "../../lib/search/halving.js";
import type { SearchTrial } from "../../lib/search/space.js";

import "../properties.js";

const score = (value: number, loss = 1, diverged = false): CandidateScore => ({ score: value, loss, diverged });

/** Each of its own rate, ten times the one before. */
const trial = (lr: number, weightDecay = 0): SearchTrial => ({
  lr,
  weightDecay,
  optimizer: { kind: "sgd", momentum: 0.9, nesterov: false },
  schedule: { kind: "constant" },
  batchSize: 32,
});
const apart = (count: number) => Array.from({ length: count }, (_, i) => trial(10 ** (i - count)));

describe("planHalving", () => {
  test("trains all briefly, a tenth to the end, in a quarter of the work", () => {
    const { rungs, cost } = planHalving({ candidates: 48, epochs: 28, overhead: 0.5 });
    expect(rungs).toEqual([
      { trials: 48, epochs: 3, rateFactor: (28 / 3) ** 0.7 },
      { trials: 5, epochs: 28, rateFactor: 1 },
    ]);
    expect(cost).toBeCloseTo((48.5 * 3 + 5.5 * 28) / (48.5 * 28), 10);
  });

  test("begins with all, ends with all epochs, and costs what it says", () => {
    const sizes = { candidates: fc.integer({ min: 1, max: 600 }), epochs: fc.integer({ min: 1, max: 120 }) };
    fc.assert(
      fc.property(fc.record({ ...sizes, overhead: fc.double({ min: 0, max: 200, noNaN: true }) }), (options) => {
        const { rungs, cost } = planHalving(options);
        const { candidates, epochs, overhead } = options;
        expect(rungs[0]!.trials).toBe(candidates);
        expect(rungs.at(-1)).toMatchObject({ epochs, rateFactor: 1 });
        for (const [i, rung] of rungs.entries()) {
          expect(Number.isInteger(rung.epochs) && rung.epochs >= 1 && Number.isInteger(rung.trials)).toBe(true);
          expect(rung.rateFactor).toBeCloseTo((epochs / rung.epochs) ** 0.7, 8);
          if (i === 0) continue;
          expect(rung.trials).toBeLessThan(rungs[i - 1]!.trials);
          expect(rung.epochs).toBeGreaterThan(rungs[i - 1]!.epochs);
          expect(rung.trials).toBeGreaterThanOrEqual(3);
        }
        const work = rungs.reduce((sum, rung) => sum + rung.epochs * (rung.trials + overhead), 0);
        expect(cost).toBeCloseTo(work / (epochs * (candidates + overhead)), 8);
        if (rungs.length > 1) expect(cost).toBeLessThan(1 / 2);
        if (candidates >= 48 && epochs >= 28 && overhead <= 2) expect(cost).toBeLessThanOrEqual(1 / 4);
      }),
      { numRuns: 300 },
    );
  });

  test("gives the brief rung as many steps as tell something", () => {
    const { rungs } = planHalving({ candidates: 96, epochs: 60, stepsPerEpoch: 9, overhead: 0 });
    // 63 steps; without that six epochs, and twelve to the end.
    expect(rungs.map(({ trials, epochs }) => [trials, epochs])).toEqual([
      [96, 7],
      [10, 60],
    ]);
  });

  test.each([
    ["few candidates", { candidates: 6, epochs: 28, overhead: 0 }],
    ["one epoch", { candidates: 50, epochs: 1, overhead: 0 }],
    ["few steps", { candidates: 48, epochs: 28, stepsPerEpoch: 4, overhead: 0 }],
    ["steps whose cost is not that of their trials", { candidates: 48, epochs: 28, overhead: 100 }],
  ])("trains all to the end where there are %s", (_, options) => {
    const all = { trials: options.candidates, epochs: options.epochs, rateFactor: 1 };
    expect(planHalving(options)).toEqual({ rungs: [all], cost: 1 });
  });

  test("takes more than a quarter where only that chooses well", () => {
    const { rungs, cost } = planHalving({ candidates: 32, epochs: 28, overhead: 10 });
    expect(rungs.map(({ trials, epochs }) => [trials, epochs])).toEqual([
      [32, 3],
      [3, 28],
    ]);
    expect(cost).toBeCloseTo((42 * 3 + 13 * 28) / (42 * 28), 10);
  });

  test.each([
    [{ candidates: 0, epochs: 3, overhead: 0 }, "Expected at least one candidate for halving but received 0"],
    [{ candidates: 3, epochs: 0.5, overhead: 0 }, "Expected at least one epoch for halving but received 0.5"],
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
  const keepOf = (scores: CandidateScore[], keep: number, candidates = apart(scores.length), rateFactor = 1) =>
    promoted({ scores: new Map(scores.entries()), candidates, keep, rateFactor });

  test("takes the highest scores, and of equal ones the lower loss", () => {
    expect(keepOf([score(0.5), score(0.7), score(0.6, 2), score(0.6, 1)], 2)).toEqual([1, 3]);
  });

  test("takes the best of three learning rates first where there are no others near, then of these the best whose decay is a decade off", () => {
    const candidates = [
      trial(0.1),
      trial(0.1, 1e-4),
      trial(0.11, 5e-4),
      trial(0.1, 1e-3),
      trial(0.3),
      trial(1),
      trial(3),
    ];
    const scores = [0.8, 0.82, 0.81, 0.7, 0.6, 0.5, 0.4].map((value) => score(value));
    expect(keepOf(scores, 2, candidates)).toEqual([1, 4]);
    expect(keepOf(scores, 3, candidates)).toEqual([1, 4, 5]);
    expect(keepOf(scores, 4, candidates)).toEqual([0, 1, 4, 5]);
    expect(keepOf(scores, 5, candidates)).toEqual([0, 1, 2, 4, 5]);
  });

  test("equal decays are not apart, nor are those within a decade", () => {
    const candidates = [trial(0.1, 1e-3), trial(0.11, 1e-3), trial(0.1, 2e-4), trial(0.1, 1e-4), trial(0.3)];
    const scores = [0.9, 0.8, 0.7, 0.6, 0.5].map((value) => score(value));
    expect(keepOf(scores, 3, candidates)).toEqual([0, 3, 4]);
  });

  test("candidates that differ in more than rate and decay are no kin", () => {
    const candidates = [trial(0.1), { ...trial(0.1), batchSize: 64 }, trial(0.3)];
    expect(keepOf([score(0.8), score(0.7), score(0.6)], 2, candidates)).toEqual([0, 1]);
  });

  test("takes the rates above and below the best one, as far as rates were multiplied", () => {
    const candidates = [0.01, 0.03, 0.1, 0.3, 1].map((lr) => trial(lr, 1e-4));
    const scores = [0.3, 0.5, 0.2, 0.35, 0.4].map((value) => score(value));
    expect(keepOf(scores, 3, candidates)).toEqual([1, 3, 4]);
    expect(keepOf(scores, 3, candidates, 4)).toEqual([0, 1, 2]);
    expect(keepOf(scores, 2, candidates, 4)).toEqual([1, 2]);
    // 0.3 is within ten times 0.03, and better than 0.1.
    expect(keepOf(scores, 3, candidates, 11)).toEqual([0, 1, 3]);
    // With the decay of the best one, where that was tried.
    const decayed = [...candidates, trial(0.1, 1e-3), trial(0.01, 1e-2)];
    expect(keepOf([...scores, score(0.4), score(0.45)], 3, decayed, 4)).toEqual([0, 1, 2]);
    const elsewhere = decayed.map((each, i) => (i === 2 ? trial(0.1, 1e-5) : each));
    expect(keepOf([...scores, score(0.4), score(0.45)], 3, elsewhere, 4)).toEqual([0, 1, 5]);
    // At the end of the grid the next best rate takes the place.
    expect(keepOf([0.9, 0.1, 0.2, 0.4, 0.3].map((value) => score(value)), 3, candidates, 4)).toEqual([0, 1, 3]); // prettier-ignore
    const other = candidates.map((each, i) => (i === 2 ? { ...each, batchSize: 64 } : each));
    expect(keepOf(scores, 3, other, 4)).toEqual([0, 1, 4]);
  });

  test("takes what diverged last, and of that the smallest rates", () => {
    const lost = score(0, NaN, true);
    expect(
      keepOf(
        [lost, score(0.1), lost, lost],
        2,
        [3, 1, 2, 4].map((lr) => trial(lr)),
      ),
    ).toEqual([1, 2]);
    expect(
      keepOf(
        [lost, lost, lost],
        2,
        [3, 1, 2].map((lr) => trial(lr)),
      ),
    ).toEqual([1, 2]);
  });
});

describe("halve", () => {
  test("each head keeps its own best, and every rung trains its survivors from the plan", async () => {
    const { rungs } = planHalving({ candidates: 40, epochs: 28, overhead: 2 });
    const peaks = [5, 31];
    const trained: number[][][] = [];
    const { chosen, scores } = await halve({
      heads: 2,
      candidates: apart(40),
      rungs,
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
    const { chosen } = await halve({ heads: 1, candidates: apart(3), rungs, evaluate });
    expect(chosen).toEqual([1]);
  });
});
