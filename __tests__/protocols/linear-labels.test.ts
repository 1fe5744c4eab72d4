import fs from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../../lib/backend/backend.js";
import type { FeatureSource } from "../../lib/features/source.js";
import { arraySource } from "../../lib/features/array-source.js";
import type { EvalLinearOptions } from "../../lib/protocols/linear/linear.js";
import { evalLinear } from "../../lib/protocols/linear/linear.js";
import { random } from "../../lib/random.js";
import { compareRuns } from "../../lib/results/compare.js";
import { formatComparison } from "../../lib/results/comparison-table.js";
import { cloudFeatures, cloudSource, everyRow } from "../clouds.js";
import { temporaryFolder } from "../command-line.js";

const root = temporaryFolder();

const short = {
  heads: ["fc", "bn_fc"],
  optimizer: { lr: [0.01, 0.1], weightDecay: [0], momentum: [0.9], nesterov: true },
  schedule: { kind: "cosine", per: "epoch" },
  epochs: 4,
  batchSize: 25,
} satisfies Partial<EvalLinearOptions>;

beforeAll(() => prepareBackend({ device: "wasm" }));

describe("images without a label (-1)", () => {
  const splitsWith = async (relabel?: (label: number, row: number) => number) => ({
    train: await cloudSource({ images: 120, seed: 1, relabel }),
    val: await cloudSource({ images: 60, seed: 2, relabel }),
    test: await cloudSource({ images: 60, seed: 3, relabel }),
  });
  const everyFifth = (label: number, row: number) => (row % 5 === 0 ? -1 : label);

  test("are left out of choice and report, and the record counts them", async () => {
    const features = cloudFeatures(await splitsWith(everyFifth));
    const out = path.join(root, "unlabelled");
    const record = await evalLinear({ ...short, features, out });
    expect(record.data.splits).toEqual({
      train: 120,
      val: 48,
      test: 48,
      how:
        "24 images to train on without a label, which teach nothing; 12 images of test without a label, which are " +
        "left out; train and test as the data names them; 12 images of val without a label, which are left out",
    });
    for (const { metrics, head, layer } of record.results) {
      const lines = (await fs.readFile(path.join(out, "predictions", `${layer}.${head}.csv`), "utf8")).trim();
      const rows = lines.split("\n").slice(1);
      expect(rows).toHaveLength(48);
      expect(rows.filter((line) => line.endsWith(",1")).length / 48).toBeCloseTo(metrics.top1!.mean, 10);
    }
    expect(record.results.find(({ layer }) => layer === "deep")!.metrics.top1!.mean).toBeGreaterThan(0.7);
    await features.close();
  });

  test("teach nothing: whatever their features are, the trained head is the same", async () => {
    const metrics: unknown[] = [];
    for (const scale of [1, -3]) {
      const train = await cloudSource({ images: 120, seed: 1, relabel: everyFifth });
      const { test: reported } = await splitsWith();
      const data = new Float32Array(120 * 8);
      for await (const { rows, features } of train.pass({ rows: everyRow(train), batchSize: 120, layers: ["deep"] })) {
        const values = await features.deep!.data();
        data.set(values.map((value, i) => (rows[Math.floor(i / 8)]! % 5 === 0 ? scale * value : value)));
        tf.dispose(features);
      }
      const changed = await arraySource({ layers: { deep: { shape: [8], data } }, targets: train.targets });
      const features = cloudFeatures({ train: changed, test: reported });
      const { results } = await evalLinear({ ...short, heads: ["fc"], layers: ["deep"], features });
      metrics.push(results.map((result) => [result.metrics, result.trials]));
      await train.close();
      await features.close();
    }
    expect(metrics[0]).toEqual(metrics[1]);
  });

  test("alone are nothing to report", async () => {
    const { train, val } = await splitsWith();
    const test = await cloudSource({ images: 60, seed: 3, relabel: () => -1 });
    const features = cloudFeatures({ train, val, test });
    await expect(evalLinear({ ...short, features })).rejects.toThrow(
      'Expected images with a label for the test split but received "60 images without one"',
    );
    await features.close();
  });
});

describe("a class that training lacks", () => {
  const lacking = (relabel: (label: number) => number) => cloudSource({ images: 120, seed: 1, relabel });

  test.each(["val", "test"] as const)("and %s has is named", async (split) => {
    // No nimbus and no stratus to learn from, nor in the other split.
    const without = (label: number) => label % 2;
    const splits = {
      train: await lacking(without),
      val: await lacking(split === "val" ? (label) => label : without),
      test: await lacking(split === "test" ? (label) => label : without),
    };
    const features = cloudFeatures(splits);
    await expect(evalLinear({ ...short, features })).rejects.toMatchObject({
      name: "UserError",
      message: `Expected training images of every class of the ${split} split but there are none of nimbus, stratus`,
      hint: `Leave these classes out of ${split}, or give images of them to train on.`,
    });
    await features.close();
  });

  test("is no matter where nobody is asked about it", async () => {
    const train = await lacking((label) => label % 2);
    const features = cloudFeatures({ train, test: await lacking((label) => label % 2) });
    expect((await evalLinear({ ...short, features })).results).toHaveLength(4);
    await features.close();
  });
});

describe("images with several labels", () => {
  const classes = ["left", "up", "near"];

  async function sides(images: number, seed: number): Promise<FeatureSource> {
    const stream = random(seed, "sides");
    const x = Float32Array.from({ length: images * 4 }, () => stream.normal());
    // Each class is a side of one coordinate, not quite; a tenth is unknown.
    const labels = Int8Array.from({ length: images * classes.length }, (_, i) => {
      const side = x[4 * Math.floor(i / classes.length) + (i % classes.length)]! + 0.5 * stream.normal();
      return stream.uniform() < 0.1 ? -1 : Number(side > 0.3);
    });
    return arraySource({
      layers: { a: { shape: [4], data: x } },
      targets: { kind: "multi", labels, classes: classes.length },
    });
  }

  test("make runs of mean AP, which are compared by it", async () => {
    const splits = { train: await sides(150, 1), test: await sides(90, 2) };
    const features = { ...cloudFeatures(splits), classes };
    const runs = ["one", "two"].map((name) => path.join(root, name));
    const records = [];
    for (const [i, out] of runs.entries()) {
      const optimizer = { ...short.optimizer, lr: i === 0 ? [0.1, 0.3] : [1e-4, 2e-4] };
      records.push(await evalLinear({ ...short, optimizer, features, out, seeds: [0, 1] }));
    }
    for (const { selection, results } of records) {
      expect(selection.metric).toBe("meanAp");
      for (const { metrics } of results) expect(Object.keys(metrics)).toEqual(["meanAp"]);
    }
    const comparison = await compareRuns({ runs });
    expect(comparison).toMatchObject({ metric: "meanAp", images: 90, seeds: [0, 1], reference: "one" });
    // No image is right or wrong as a whole, so there are no pairs to test.
    expect([comparison.best, comparison.layers]).toEqual([[], []]);
    for (const [i, { entries, best }] of comparison.runs.entries()) {
      const { results } = records[i]!;
      expect(entries.map(({ layer, head, metrics }) => ({ layer, head, metrics }))).toEqual(
        results.map(({ layer, head, metrics }) => ({ layer, head, metrics })),
      );
      const scores = results.map(({ selection }) => selection!.mean);
      expect(best!.head).toBe(results[scores.indexOf(Math.max(...scores))]!.head);
    }
    const told = formatComparison(comparison, { kind: "text", color: false });
    for (const { results } of records) {
      for (const { metrics } of results) expect(told).toContain((100 * metrics.meanAp!.mean).toFixed(1));
    }
    await features.close();
  });

  test("and a class without any image of it to train on are told", async () => {
    const test = await sides(60, 2);
    const { targets } = await sides(120, 1);
    const labels = (targets.labels as Int8Array).map((label, i) => (i % 3 === 1 ? 0 : label));
    const train = await arraySource({
      layers: { a: { shape: [4], data: new Float32Array(480) } },
      targets: { kind: "multi", labels, classes: 3 },
    });
    const features = { ...cloudFeatures({ train, test }), classes };
    await expect(evalLinear({ ...short, features })).rejects.toThrow(
      "Expected training images of every class of the test split but there are none of up",
    );
    await features.close();
  });
});
