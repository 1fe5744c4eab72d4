import "../properties.js";

import fc from "fast-check";

import { UserError } from "../../lib/errors.js";
import type { Interval, Schedule } from "../../lib/optim/schedule.js";
import { checkSchedule, learningRateFactor } from "../../lib/optim/schedule.js";
import { golden } from "../golden.js";

const at = (epoch: number, step = 0) => ({ epoch, epochs: 28, step, stepsPerEpoch: 10 });

/** Made by bench/peers/golden_optim.py: fvcore's and VISSL's schedulers at every step and epoch, and PyTorch's. */
const reference = golden<{
  epochs: number;
  stepsPerEpoch: number;
  values: Record<string, Record<Interval, number[]>>;
  torch: Record<"multistep" | "cosine", number[]>;
}>("optim/schedules.json");

const rescaled = (schedule: Schedule, length: number) => ({ schedule, length });
const schedules: Record<string, (per: Interval) => Schedule> = {
  constant: () => ({ kind: "constant", factor: 0.3 }),
  multistep: () => ({ kind: "multistep", milestones: [2, 5, 9], factors: [1, 0.1, 0.05, 0.001] }),
  step: (per) => ({ kind: "step", factors: [1, 0.5, 0.2], per }),
  step_with_fixed_gamma: (per) => ({ kind: "step_with_fixed_gamma", gamma: 0.2, decays: 3, per }),
  cosine: (per) => ({ kind: "cosine", end: 0.01, per }),
  linear: (per) => ({ kind: "linear", start: 0.1, end: 0.9, per }),
  inverse_sqrt: (per) => ({ kind: "inverse_sqrt", warmup: 0.1, per }),
  "inverse_sqrt without warm-up": (per) => ({ kind: "inverse_sqrt", warmup: 0, per }),
  "warm-up and cosine": (per) => ({
    kind: "composite",
    parts: [rescaled({ kind: "linear", start: 0, end: 1 }, 0.1), rescaled({ kind: "cosine" }, 0.9)],
    per,
  }),
  "warm-up and fixed multistep": (per) => ({
    kind: "composite",
    parts: [
      rescaled({ kind: "linear", start: 0.1, end: 1 }, 0.25),
      { ...rescaled({ kind: "multistep", milestones: [3, 7], gamma: 0.1 }, 0.75), scaling: "fixed" },
    ],
    per,
  }),
  "three parts": (per) => ({
    kind: "composite",
    parts: [
      rescaled({ kind: "linear", start: 0, end: 1 }, 0.15),
      rescaled({ kind: "constant", factor: 0.7 }, 0.35),
      rescaled({ kind: "multistep", milestones: [6], factors: [0.5, 0.1] }, 0.5),
    ],
    per,
  }),
};

function factorsOf(schedule: Schedule, epochs: number, stepsPerEpoch: number): number[] {
  return Array.from({ length: epochs * stepsPerEpoch }, (_, i) =>
    learningRateFactor(schedule, {
      epoch: Math.floor(i / stepsPerEpoch),
      epochs,
      step: i % stepsPerEpoch,
      stepsPerEpoch,
    }),
  );
}

describe("learning rate schedule", () => {
  const { epochs, stepsPerEpoch, values } = reference;

  test.each(Object.keys(values))("equals fvcore's and VISSL's: %s", (name) => {
    for (const per of ["epoch", "step"] as const) {
      const schedule = schedules[name]!(per);
      checkSchedule(schedule, epochs);
      const expected = factorsOf(schedule, epochs, stepsPerEpoch).map(
        (_, i) => values[name]![per][per === "step" ? i : Math.floor(i / stepsPerEpoch)]!,
      );
      factorsOf(schedule, epochs, stepsPerEpoch).forEach((factor, i) => expect(factor).toBeCloseTo(expected[i]!, 12));
    }
  });

  test("equals PyTorch's, stepped by epochs", () => {
    const multistep = factorsOf({ kind: "multistep", milestones: [2, 5, 9], gamma: 0.1 }, epochs, 1);
    multistep.forEach((factor, i) => expect(factor).toBeCloseTo(reference.torch.multistep[i]!, 12));
    const cosine = factorsOf({ kind: "cosine", per: "epoch" }, epochs, 1);
    cosine.forEach((factor, i) => expect(factor).toBeCloseTo(reference.torch.cosine[i]!, 12));
  });

  test("multistep falls when a milestone is reached, as PyTorch's and VISSL's do", () => {
    const schedule = { kind: "multistep" as const, milestones: [8, 16, 24], gamma: 0.1 };
    expect(
      [0, 7, 8, 15, 16, 24, 27].map((epoch) => Number(learningRateFactor(schedule, at(epoch)).toPrecision(6))),
    ).toEqual([1, 1, 0.1, 0.1, 0.01, 0.001, 0.001]);
  });

  test("cosine goes from 1 towards 0, by epochs or by steps", () => {
    expect(learningRateFactor({ kind: "cosine", per: "epoch" }, at(0, 9))).toBe(1);
    expect(learningRateFactor({ kind: "cosine", per: "epoch" }, at(14, 9))).toBeCloseTo(0.5, 12);
    expect(learningRateFactor({ kind: "cosine", per: "step" }, at(0, 5))).toBeCloseTo(
      0.5 * (1 + Math.cos((Math.PI * 0.5) / 28)),
      12,
    );
    expect(learningRateFactor({ kind: "cosine", per: "step" }, at(27, 9))).toBeGreaterThan(0);
  });

  test("a part may have an interval of its own", () => {
    const cosine = { kind: "cosine", per: "epoch" } as const;
    const schedule: Schedule = {
      kind: "composite",
      parts: [rescaled({ kind: "linear", start: 0, end: 1 }, 0.2), rescaled(cosine, 0.8)],
      per: "step",
    };
    const factors = factorsOf(schedule, 10, 4);
    expect(new Set(factors.slice(0, 8)).size).toBe(8);
    for (let epoch = 2; epoch < 10; epoch++) expect(new Set(factors.slice(4 * epoch + 1, 4 * epoch + 4)).size).toBe(1);
  });

  test("multistep falls at its milestones for any number of epochs", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 400 }),
        fc.integer({ min: 1, max: 300 }),
        fc.nat(),
        (length, steps, draw) => {
          const milestone = 1 + (draw % (length - 1));
          const schedule = { kind: "multistep" as const, milestones: [milestone], gamma: 0.5 };
          const factor = (epoch: number, step: number) =>
            learningRateFactor(schedule, { epoch, epochs: length, step, stepsPerEpoch: steps });
          expect(factor(milestone - 1, steps - 1)).toBe(1);
          expect(factor(milestone, 0)).toBe(0.5);
        },
      ),
    );
  });

  test.each<[Schedule, string]>([
    [{ kind: "multistep", milestones: [8, 8], gamma: 0.1 }, "Expected rising epochs above 0 for schedule.milestones"],
    [{ kind: "multistep", milestones: [8], gamma: 2 }, "Expected a number in (0, 1] for schedule.gamma"],
    [
      { kind: "multistep", milestones: [8, 28, 30], gamma: 0.1 },
      "Expected epochs below 28, that of the end for schedule.milestones but received [28,30]",
    ],
    [{ kind: "multistep", milestones: [8], factors: [1] }, "Expected one factor more than milestones, 2"],
    [{ kind: "multistep", milestones: [8], factors: [1, -1] }, "Expected numbers of at least 0 for schedule.factors"],
    [{ kind: "step", factors: [] }, "for schedule.factors but received []"],
    [{ kind: "step_with_fixed_gamma", gamma: 0, decays: 2 }, "for schedule.gamma but received 0"],
    [{ kind: "step_with_fixed_gamma", gamma: 0.5, decays: 0 }, "Expected a whole number above 0 for schedule.decays"],
    [{ kind: "cosine", end: -1, per: "step" }, "Expected a number of at least 0 for schedule.end"],
    [{ kind: "linear", start: NaN, end: 1 }, "Expected a number of at least 0 for schedule.start"],
    [{ kind: "inverse_sqrt", warmup: 2 }, "Expected a number in [0, 1] for schedule.warmup"],
    [{ kind: "constant", factor: Infinity }, "Expected a number of at least 0 for schedule.factor"],
    [{ kind: "composite", parts: [] }, "Expected lengths above 0 that sum to 1 for schedule.parts"],
    [{ kind: "composite", parts: [rescaled({ kind: "constant" }, 0.9)] }, "for schedule.parts but received [0.9]"],
    [
      { kind: "composite", parts: [rescaled({ kind: "linear", start: 0, end: -1 }, 1)] },
      "Expected a number of at least 0 for schedule.parts[0].end but received -1",
    ],
  ])("refuses %j", (schedule, message) => {
    const check = () => checkSchedule(schedule, 28);
    expect(check).toThrow(UserError);
    expect(check).toThrow(message);
  });
});
