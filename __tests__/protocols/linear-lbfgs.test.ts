import { arraySource } from "../../lib/features/array-source.js";
import type { FeatureSet } from "../../lib/features/feature-set.js";
import type { EvalLinearOptions } from "../../lib/protocols/linear/linear.js";
import { evalLinear, linearDefaults } from "../../lib/protocols/linear/linear.js";
import { planLinear } from "../../lib/protocols/linear/plan.js";
import { random } from "../../lib/random.js";
import { describeOnBackends } from "../backends.js";

const classes = 3;

async function features(): Promise<FeatureSet> {
  const stream = random(1, "lbfgs");
  const labels = Int32Array.from({ length: 240 }, () => stream.integer(classes));
  const data = Float32Array.from(
    { length: 240 * 6 },
    (_, i) => (i % 6 === labels[Math.floor(i / 6)]! ? 2 : 0) + stream.normal(),
  );
  const source = await arraySource({ layers: { out: { shape: [6], data } }, targets: { kind: "single", labels } });
  return {
    splits: { all: source },
    classes: ["a", "b", "c"],
    data: { spec: "clouds", name: "clouds", digest: "0" },
    backbone: null,
    skipped: [],
    extraction: { images: 0, seconds: 0 },
    close: () => source.close(),
  };
}

const lbfgs = { kind: "lbfgs", history: 10, lineSearch: "strong_wolfe" } as const;
const short: Partial<EvalLinearOptions> = {
  heads: ["fc", "plain_bn_fc"],
  optimizer: { kind: [lbfgs], lr: [1], weightDecay: [1e-3, 1e-2, 0.1, 1] },
  schedule: { kind: "constant" },
  epochs: 40,
};

describeOnBackends("linear evaluation by L-BFGS", () => {
  test("chooses among weight decays, beside SGD, and says when the tolerance was reached", async () => {
    const given = await features();
    const record = await evalLinear({ ...short, features: given });
    for (const { metrics, converged, trials } of record.results) {
      expect(metrics.top1!.mean).toBeGreaterThan(0.7);
      expect(converged).toBe(true);
      expect(trials).toHaveLength(4);
    }
    const notes = record.results.flatMap((result) => result.notes).join();
    expect(notes).toMatch(/L-BFGS reached its tolerance after \d+ iterations/);
    const optimizer = { ...short.optimizer!, kind: [lbfgs, "sgd" as const], lr: [0.1], weightDecay: [1e-2] };
    const both = await evalLinear({ ...short, optimizer, epochs: 5, batchSize: 40, features: given });
    expect(both.results[0]!.trials.map(({ setting }) => setting.optimizer)).toHaveLength(2);
    await given.close();
  });

  test("halving trains all for few iterations and some for all", async () => {
    const given = await features();
    const weightDecay = Array.from({ length: 16 }, (_, i) => 1e-4 * 2 ** i);
    const optimizer = { ...short.optimizer!, weightDecay };
    const record = await evalLinear({ ...short, heads: ["fc"], optimizer, search: "halving", features: given });
    const run = record.results[0]!.trials.map(({ epochsRun }) => epochsRun!);
    expect(Math.max(...run)).toBe(40);
    expect(Math.min(...run)).toBeLessThan(40);
    await given.close();
  });

  test("plans from a piece of the images", async () => {
    const layers = [{ name: "out", shape: [6], width: 6 }];
    const plan = await planLinear({
      extraction: { images: 0, bytes: 0, imagesPerSecond: undefined, layers, splits: [{ images: 1e8 }] },
      settings: { ...linearDefaults, ...short },
      classes,
      trainingImages: 1e8,
    });
    expect(plan.steps).toBe(40);
    expect(plan.seconds.train).toBeGreaterThan(1);
  });

  test("refuses augmented features and what no full batch has", async () => {
    const given = await features();
    const none = { title: "b", arch: "b", digest: "0", transform: "", precision: "float32" };
    const augmented = { ...given, backbone: { ...none, trainTransform: "hflip(0.5)" } };
    await expect(evalLinear({ ...short, features: augmented })).rejects.toThrow(
      "Expected features of one view of each image for lbfgs but received augmented ones",
    );
    const heads = [{ hidden: [4], dropout: 0.5 }];
    await expect(evalLinear({ ...short, heads, features: given })).rejects.toThrow(
      "Expected a head without hidden batch norm and dropout for lbfgs but received mlp-4",
    );
    await given.close();
  });
});
