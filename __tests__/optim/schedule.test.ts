import { checkSchedule, learningRateFactor } from "../../lib/optim/schedule.js";

const at = (epoch: number, step = 0) => ({ epoch, epochs: 28, step, stepsPerEpoch: 10 });

describe("learning rate schedule", () => {
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

  test("milestones must rise and gamma must shrink", () => {
    expect(() => checkSchedule({ kind: "multistep", milestones: [8, 8], gamma: 0.1 }, 28)).toThrow(
      "Expected rising epochs",
    );
    expect(() => checkSchedule({ kind: "multistep", milestones: [8], gamma: 2 }, 28)).toThrow(
      "Expected a number in (0, 1]",
    );
  });
});
