import fc from "fast-check";

import { UserError } from "../../lib/errors.js";
import { between, type Range, shareOf } from "../../lib/search/range.js";
import { type SearchSpace, trialsOf } from "../../lib/search/space.js";
import { openStudy, roundSizes, type Study } from "../../lib/search/study.js";
import type { StudySpace, StudyTrial } from "../../lib/search/study-trial.js";
import { suggest } from "../../lib/search/tpe.js";

import "../properties.js";

const space: StudySpace = {
  lr: { from: 0.1, to: 100, scale: "log" },
  weightDecay: { from: 1e-12, to: 1e-4, scale: "log" },
};
const goal = "maximize";

/** Highest, 0, at a rate of 10 and a decay of 1e-6. */
const valueOf = ({ parameters: { lr, weightDecay } }: StudyTrial) =>
  -((Math.log10(lr!) - 1) ** 2) - (Math.log10(weightDecay!) + 6) ** 2 / 8;

/** Asks for batches until there are `until` trials. */
function run(study: Study, until: number, batch: number): void {
  while (study.trials.length < until || study.trials.some(({ state }) => state === "running")) {
    study.tell(study.ask(batch).map((trial) => ({ number: trial.number, value: valueOf(trial) })));
  }
}

test("trials train together until something is learnt, then by fives", () => {
  expect([3, 10, 17, 30].map(roundSizes)).toEqual([[3], [10], [10, 5, 2], [10, 5, 5, 5, 5]]);
});

test("shareOf undoes between", () => {
  const shares = fc.double({ min: 0, max: 1, noNaN: true });
  const ranges: Range[] = [space.weightDecay!, { from: -5, to: 10, scale: "linear" }];
  fc.assert(
    fc.property(shares, fc.constantFrom(...ranges), (share, range) => {
      expect(shareOf(range, between(range, share))).toBeCloseTo(share, 8);
      expect([shareOf(range, range.from), shareOf(range, range.to)]).toEqual([0, 1]);
    }),
  );
});

describe("a study", () => {
  test("stays in its ranges, and its seed says all", () => {
    const sides = fc.record({
      seed: fc.nat(),
      from: fc.double({ min: 1e-9, max: 1, noNaN: true }),
      ratio: fc.double({ min: 1.1, max: 1e9, noNaN: true }),
      low: fc.double({ min: -100, max: 100, noNaN: true }),
      batch: fc.integer({ min: 1, max: 6 }),
    });
    fc.assert(
      fc.property(sides, ({ seed, from, ratio, low, batch }) => {
        const own: StudySpace = {
          a: { from, to: from * ratio, scale: "log" },
          b: { from: low, to: low + ratio, scale: "linear" },
        };
        const trials = [0, 1].map(() => {
          const study = openStudy({ space: own, goal: "minimize", seed });
          while (study.trials.length < 16) {
            study.tell(study.ask(batch).map(({ number, parameters }) => ({ number, value: Math.sin(parameters.a!) })));
          }
          return study.trials;
        });
        expect(trials[0]).toEqual(trials[1]);
        for (const { parameters } of trials[0]!) {
          for (const [name, { from: least, to: most }] of Object.entries(own)) {
            expect(parameters[name]).toBeGreaterThanOrEqual(least);
            expect(parameters[name]).toBeLessThanOrEqual(most);
          }
        }
      }),
      { numRuns: 30 },
    );
  });

  test("begins as a random search of the same seed", () => {
    const { trials } = trialsOf({
      space: { ...space, optimizer: ["sgd"], schedule: [{ kind: "constant" }], batchSize: [32] } as SearchSpace,
      search: "random",
      count: 10,
      seed: 3,
    });
    const asked = openStudy({ space, goal, seed: 3 }).ask(10);
    expect(asked.map(({ parameters }) => parameters)).toEqual(
      trials.map(({ lr, weightDecay }) => ({ lr, weightDecay })),
    );
  });

  test("finds what a random search of as many trials does not", () => {
    const bests = [0, 1, 2, 3, 4, 5].map((seed) => {
      const study = openStudy({ space, goal, seed });
      const random = openStudy({ space, goal, seed });
      run(study, 40, 1);
      random.tell(random.ask(40).map((trial) => ({ number: trial.number, value: valueOf(trial) })));
      return [study.best()!.value, random.best()!.value] as const;
    });
    const mean = (side: 0 | 1) => bests.reduce((sum, both) => sum + both[side], 0) / bests.length;
    expect(mean(0)).toBeGreaterThan(mean(1) / 2);
  });

  test("asks for trials together that lie apart", () => {
    const spread = (trials: { parameters: Record<string, number> }[]) => {
      const points = trials.map(({ parameters }) =>
        Object.entries(space).map(([key, range]) => shareOf(range, parameters[key]!)),
      );
      const distances = points.flatMap((a, i) =>
        points.slice(i + 1).map((b) => Math.hypot(a[0]! - b[0]!, a[1]! - b[1]!)),
      );
      return distances.reduce((sum, one) => sum + one, 0) / distances.length;
    };
    const both = [0, 1, 2, 3, 4, 5].map((seed) => {
      const study = openStudy({ space, goal, seed });
      run(study, 20, 1);
      const before = [...study.trials];
      // The same streams of chance, but each trial as if the others did not run.
      const alone = Array.from({ length: 8 }, (_, i) => {
        const failed: StudyTrial[] = Array.from({ length: i }, (_, j) => ({
          ...before[0]!,
          number: 20 + j,
          state: "failed",
        }));
        return { parameters: suggest({ space, goal, seed, trials: [...before, ...failed] }) };
      });
      return [spread(study.ask(8)), spread(alone)] as const;
    });
    const mean = (side: 0 | 1) => both.reduce((sum, one) => sum + one[side], 0) / both.length;
    expect(mean(0)).toBeGreaterThan(1.15 * mean(1));
  });

  test.each([1, 4])("that was stopped goes on as if it had not, in batches of %i", (batch) => {
    const whole = openStudy({ space, goal, seed: 7 });
    run(whole, 24, batch);
    const stopped = openStudy({ space, goal, seed: 7 });
    run(stopped, 12, batch);
    const lost = stopped.ask(batch);
    const next = openStudy({ space, goal, seed: 7, trials: stopped.trials });
    expect(next.ask(batch)).toEqual(lost);
    next.tell(lost.map((trial) => ({ number: trial.number, value: valueOf(trial) })));
    run(next, 24, batch);
    expect(next.trials).toEqual(whole.trials);
    expect(next.best()).toEqual(whole.best());
  });

  test("keeps trials before they count", () => {
    const kept: StudyTrial[] = [];
    let full = false;
    const study = openStudy({
      space,
      goal,
      seed: 0,
      keep: (trials) => {
        if (full) throw new Error("the disk is full");
        kept.push(...trials);
      },
    });
    const [first] = study.ask(2);
    study.tell([{ number: 1, value: NaN }]);
    expect(kept.map(({ number, state }) => [number, state])).toEqual([
      [0, "running"],
      [1, "running"],
      [1, "failed"],
    ]);
    full = true;
    expect(() => study.tell([{ number: 0, value: 1 }])).toThrow("full");
    expect(() => study.ask(1)).toThrow("full");
    expect(study.trials).toEqual([first, expect.objectContaining({ number: 1, state: "failed" })]);
    expect(study.best()).toBeUndefined();
  });

  test("refuses what makes no sense", () => {
    const study = openStudy({ space, goal, seed: 0 });
    study.ask(2);
    study.tell([{ number: 1, value: 0.5 }]);
    const value = 1;
    expect(() => study.ask(0)).toThrow(UserError);
    expect(() => study.tell([{ number: 2, value }])).toThrow("Expected a trial that runs for a value but received 2");
    expect(() => study.tell([{ number: 1, value }])).toThrow(UserError);
    expect(() => study.tell([0, 0].map((number) => ({ number, value })))).toThrow("each trial once");
    expect(study.trials.map(({ state }) => state)).toEqual(["running", "complete"]);
    expect(() => openStudy({ space: {}, goal, seed: 0 })).toThrow("at least one parameter");
    expect(() => openStudy({ space: { lr: { from: 1, to: 0.1, scale: "log" } }, goal, seed: 0 })).toThrow(UserError);
  });
});
