import fc from "fast-check";

import { UserError } from "../../lib/errors.js";
import { learningRateFactor, type Schedule } from "../../lib/optim/schedule.js";
import { fullMoment, planHalving } from "../../lib/search/rungs.js";

import "../properties.js";

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
          expect(rung.trials).toBeGreaterThanOrEqual(4);
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
      [4, 28],
    ]);
    expect(cost).toBeCloseTo((42 * 3 + 14 * 28) / (42 * 28), 10);
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
