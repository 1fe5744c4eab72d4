import { learningRateFactor } from "../../lib/optim/schedule.js";
import type { ScaleVisslRateOptions, VisslRate } from "../../lib/optim/vissl-rates.js";
import { scaleVisslRate, visslSchedule } from "../../lib/optim/vissl-rates.js";
import { golden } from "../golden.js";

/** Made by bench/peers/golden_optim.py: what VISSL's own infer_learning_rate answers. */
const reference = golden<(ScaleVisslRateOptions & { expected: VisslRate })[]>("optim/vissl_rates.json");

const alone = {
  batchSizePerReplica: 32,
  processesPerNode: 8,
  nodes: 1,
  baseValue: 0.01,
  baseBatchSize: 256,
  scaling: "linear",
} as const;
const at = (epoch: number, step = 0) => ({ epoch, epochs: 28, step, stepsPerEpoch: 10 });

/** Lists of values are rounded by VISSL, so they are equal; elsewhere the last bit may differ. */
function expectEqual(own: unknown, theirs: unknown): void {
  if (typeof theirs === "number") expect(Math.abs((own as number) - theirs)).toBeLessThanOrEqual(1e-15 * theirs);
  else if (typeof theirs !== "object") expect(own).toBe(theirs);
  else if (!("values" in theirs!)) {
    expect(Object.keys(own as object).sort()).toEqual(Object.keys(theirs!).sort());
    for (const [key, value] of Object.entries(theirs!)) expectEqual((own as Record<string, unknown>)[key], value);
  } else {
    expect(own).toEqual(theirs);
  }
}

describe("VISSL's learning rates by batch size", () => {
  test.each(
    reference.map(
      (one) =>
        [
          `${one.rate.name} × ${one.batchSizePerReplica}·${one.processesPerNode}·${one.nodes}, ${one.scaling}`,
          one,
        ] as const,
    ),
  )(
    // prettier-ignore
    "equal VISSL's: %s",
    (_, { expected, ...options }) => {
      const before = structuredClone(options.rate);
      expectEqual(scaleVisslRate(options), expected);
      expect(options.rate).toEqual(before);
    },
  );

  test("values are rounded as Python rounds, ties to the even digit", () => {
    const rate: VisslRate = { name: "multistep", values: [1], milestones: [] };
    const scaled = (baseValue: number) => scaleVisslRate({ ...alone, rate, baseValue });
    // round(1/512, 8) and round(3/512, 8) of Python.
    expect(scaled(1 / 512)).toMatchObject({ values: [0.00195312] });
    expect(scaled(3 / 512)).toMatchObject({ values: [0.00585938] });
  });

  test("become a base rate and factors", () => {
    const values = [0.01, 0.001, 0.0001];
    const steps = visslSchedule({ name: "multistep", values, milestones: [8, 16], update_interval: "epoch" });
    expect(steps.lr).toBe(0.01);
    for (const [i, epoch] of [0, 8, 16].entries()) {
      expect(steps.lr * learningRateFactor(steps.schedule, at(epoch))).toBeCloseTo(values[i]!, 15);
    }
    const { lr, schedule } = visslSchedule({
      name: "composite",
      schedulers: [
        { name: "linear", start_value: 0.1, end_value: 0.3, update_interval: "epoch" },
        { name: "cosine", start_value: 0.3, end_value: 0 },
      ],
      lengths: [0.5, 0.5],
      update_interval: "step",
    });
    expect(lr * learningRateFactor(schedule, at(7))).toBeCloseTo(0.2, 12);
    expect(lr * learningRateFactor(schedule, at(7, 5))).toBeCloseTo(0.2 + (0.2 * 0.5) / 14, 12);
    expect(lr * learningRateFactor(schedule, at(21))).toBeCloseTo(0.15, 12);
    const late: VisslRate = {
      name: "composite",
      schedulers: [
        { name: "constant", value: 0.4 },
        { name: "step_with_fixed_gamma", base_value: 0.2, gamma: 0.1, num_decays: 1 },
        { name: "inverse_sqrt", start_value: 0.2, warmup_interval_length: 0.25 },
      ],
      lengths: [0.25, 0.5, 0.25],
    };
    const mixed = visslSchedule(late);
    const rateAt = (epoch: number) => mixed.lr * learningRateFactor(mixed.schedule, at(epoch));
    expect([rateAt(0), rateAt(8), rateAt(20)].map((rate) => Number(rate.toPrecision(6)))).toEqual([0.4, 0.2, 0.02]);
    expect(rateAt(27)).toBeCloseTo((0.2 * 0.5) / Math.sqrt(6 / 7), 12);
  });

  test("what cannot be is refused", () => {
    const rate: VisslRate = { name: "constant", value: 0.1 };
    expect(() => scaleVisslRate({ ...alone, rate, nodes: 0 })).toThrow("Expected a number above 0 for nodes");
    expect(() => visslSchedule({ ...rate, value: 0 })).toThrow("Expected a learning rate above 0");
    const three: VisslRate = {
      name: "composite",
      schedulers: [{ name: "linear", start_value: 0.01, end_value: 0.1 }, rate, rate],
      lengths: [0.1, 0.4, 0.5],
    };
    const deleted = scaleVisslRate({ ...alone, rate: three });
    expect(() => visslSchedule(deleted)).toThrow("Expected 2 lengths for the composite of learning rates");
  });
});
