import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { UserError } from "../../lib/errors.js";
import type { FeatureSet } from "../../lib/features/feature-set.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { trainSvm, type TrainSvmOptions } from "../../lib/protocols/svm/svm.js";
import { loadHead } from "../../lib/results/export-head.js";
import { readRecord, type ResultRecord } from "../../lib/results/record.js";
import { normaliseRows } from "../../lib/svm/normalise.js";
import { describeOnBackends, noNative } from "../backends.js";
import { cloudFeatures, cloudSource } from "../clouds.js";
import { filesOf } from "../features/synthetic.js";
import { changedFeatures, goldenFeatures, goldenSvm } from "./svm-golden.js";
import { prepareBackend } from "../../lib/backend/backend.js";

let folder: string;
beforeAll(() => (folder = mkdtempSync(path.join(os.tmpdir(), "svm-"))));
afterAll(() => rmSync(folder, { recursive: true }));

const train = async (features: FeatureSet, options: Omit<TrainSvmOptions, "features"> = {}) => {
  try {
    return await trainSvm({ features, ...options });
  } finally {
    await features.close();
  }
};
const numbers = async (...names: string[]) => readNpy({ file: path.join(folder, ...names) });

describeOnBackends("VISSL's protocol", ({ device }) => {
  test.each(["wide_n", "wide_d"] as const)("gives the numbers of an exact solver, and VISSL's: %s", async (name) => {
    const expected = goldenSvm(name);
    const tensors = tf.memory().numTensors;
    const record = await train(await goldenFeatures(name), {
      costs: expected.costs,
      out: path.join(folder, device, name),
    });
    expect(tf.memory().numTensors).toBe(tensors);
    const { classes, converged, metrics } = record.results[0]!;
    expect(converged).toBe(true);
    classes!.forEach(({ crossval, ap, cost, gaps }, c) => {
      crossval.forEach((value, i) => {
        expect(Math.abs(value - expected.crossval_ap_exact[c]![i]!)).toBeLessThan(1e-3);
        const noise = expected.max_abs_diff_crossval_exact_vs_vissl_per_cost[i]! + 1e-3;
        expect(Math.abs(value - expected.crossval_ap_vissl[c]![i]!)).toBeLessThan(noise);
      });
      expect(cost).toBe(expected.chosen_cost_exact[c]);
      expect(Math.abs(ap - expected.test_ap_exact_at_chosen[c]!)).toBeLessThan(1e-3);
      expect(Math.abs(ap - expected.test_ap_vissl[c]!)).toBeLessThan(1e-3);
      expect(gaps.map(({ length }) => length)).toEqual(expected.costs.map(() => 4));
      expect(Math.max(...gaps.flat())).toBeLessThanOrEqual(1e-6);
    });
    const mean = classes!.reduce((sum, { ap }) => sum + ap, 0) / classes!.length;
    expect(metrics.meanAp!.mean).toBeCloseTo(mean, 12);
    expect(metrics.meanAp11!.mean).not.toBe(metrics.meanAp!.mean);

    // VISSL's files, by their names and shapes.
    const written = readdirSync(path.join(folder, device, name, "features"));
    for (const file of expected.files_written.filter((one) => one.endsWith(".npy"))) expect(written).toContain(file);
    const [count, costs] = [classes!.length, expected.costs.length];
    const crossval = await numbers(device, name, "features", "crossval_ap.npy");
    expect(crossval).toMatchObject({ dtype: "float64", shape: [count, costs] });
    expect([...(crossval.data as Float64Array)]).toEqual(classes!.flatMap((one) => one.crossval));
    expect(await numbers(device, name, "features", "chosen_cost.npy")).toMatchObject({
      dtype: "float64",
      shape: [count],
      data: Float64Array.from(classes!, ({ cost }) => cost),
    });
    expect(await numbers(device, name, "features", "test_ap.npy")).toMatchObject({ shape: [count, 1] });
    const one = await numbers(device, name, "features", "AP_cls1_cost0.1.npy");
    expect([one.shape, one.data[0]]).toEqual([[1], classes![1]!.crossval[1]]);
  });
});

describe("a run", () => {
  const costs = [0.01, 1];
  const quick = { costs, tolerance: 1e-4 };
  beforeAll(async () => {
    await prepareBackend({ device: noNative ? "wasm" : "native" });
  });

  test("is written with record, tables, figures, predictions, and the chosen SVMs as a head", async () => {
    const out = path.join(folder, "files");
    const features = await goldenFeatures("wide_d");
    const record = await train(features, { ...quick, out });
    expect(await readRecord(out)).toEqual(record);
    expect(record).toMatchObject({
      protocol: { id: "svm", version: 1 },
      settings: {
        costs,
        loss: "squared_hinge",
        positiveWeight: 2,
        ignoredInTraining: "negative",
        layers: ["features"],
      },
      selection: { on: "3 folds of train", metric: "stepAp", reportedOn: "test", selectedOnReported: false },
      data: { splits: { train: 150, test: 120 } },
    });
    const csv = readFileSync(path.join(out, "table.csv"), "utf8").split("\n");
    expect(csv[0]).toBe("layer,class,train_positives,test_positives,cost,crossval_ap,ap,ap_11_point");
    expect(csv).toHaveLength(1 + 4 + 1);
    const { ap, name } = record.results[0]!.classes![2]!;
    expect(csv[3]).toContain(`features,${name},`);
    expect(csv[3]).toContain(String(ap));
    const table = readFileSync(path.join(out, "table.md"), "utf8");
    expect(table).toContain("SVM mean AP % | SVM 11-point mean AP %");
    expect(table).toMatch(new RegExp(`class 2 +\\| +${(100 * ap).toFixed(1)} `));
    for (const figure of ["depth.svg", "features/ap_by_cost.svg", "features/precision_recall.svg"]) {
      expect(readFileSync(path.join(out, figure), "utf8")).toMatch(/^<svg/);
    }
    expect(existsSync(path.join(out, "training"))).toBe(false);

    const lines = readFileSync(path.join(out, "predictions", "features.svm.csv"), "utf8")
      .trimEnd()
      .split("\n");
    expect(lines[0]).toBe("seed,id,targets,ignored,class 0,class 1,class 2,class 3");
    expect(lines).toHaveLength(121);
    const told = lines.slice(1).map((line) => line.split(",").slice(4).map(Number));
    const { model, description } = await loadHead({ dir: path.join(out, "heads", "features.svm") });
    expect(description).toMatchObject({ l2: true, activation: "sigmoid", classes: features.classes });
    const rows = (await readNpy({ file: path.join(folderOfGolden, "test_features.npy") })).data as Float32Array;
    const normalised = Float32Array.from(rows);
    normaliseRows(normalised, 200);
    const logits = tf.tidy(() => (model.predict(tf.tensor2d(normalised, [120, 200])) as tf.Tensor2D).arraySync());
    logits.forEach((row, i) => row.forEach((value, c) => expect(Math.abs(value - told[i]![c]!)).toBeLessThan(1e-4)));
    model.dispose();
  });

  test("that is stopped after a unit and called again leaves the bytes of an undisturbed one", async () => {
    // Of 18 problems a class two classes are a unit: three units.
    const options = { ...quick, folds: 17, classes: ["class 0", "class 1", "class 2", "class 3", "class 5"] };
    const whole = await train(await goldenFeatures("wide_n"), { ...options, out: path.join(folder, "whole") });
    const out = path.join(folder, "stopped");
    const training = path.join(out, "training");
    const units = () =>
      existsSync(training) ? readdirSync(training).filter((file) => !file.endsWith(".partial")) : [];
    for (const left of [1, 2]) {
      const controller = new AbortController();
      const advance = () => units().length >= left && controller.abort(new Error("stopped"));
      const progress = { note: () => {}, task: () => ({ advance, end: () => {} }) };
      const stopped = train(await goldenFeatures("wide_n"), { ...options, out, progress, signal: controller.signal });
      await expect(stopped).rejects.toThrow("stopped");
      expect(units()).toHaveLength(left);
      expect(existsSync(path.join(out, "result.json"))).toBe(false);
    }
    const again = await train(await goldenFeatures("wide_n"), { ...options, out });
    expect(withoutTimes(again)).toEqual(withoutTimes(whole));
    // VISSL's own leaves zeros in this matrix after a resume, and chooses costs by them.
    const { data } = await numbers("stopped", "features", "crossval_ap.npy");
    expect(Math.min(...(data as Float64Array))).toBeGreaterThan(0);
    const [found, expected] = await Promise.all([out, path.join(folder, "whole")].map((one) => filesOf(one)));
    for (const files of [found!, expected!]) delete files["result.json"];
    expect(found).toEqual(expected);
  });

  test("hears that it is to stop in the middle of a unit", async () => {
    const controller = new AbortController();
    const advance = () => void setTimeout(() => controller.abort(new Error("stopped")), 0);
    const progress = { note: () => {}, task: () => ({ advance, end: () => {} }) };
    const stopped = train(await goldenFeatures("wide_n"), { ...quick, progress, signal: controller.signal });
    await expect(stopped).rejects.toThrow("stopped");
  });

  test("of some classes keeps their numbers in names, and their own costs", async () => {
    const out = path.join(folder, "subset");
    const all = await train(await goldenFeatures("wide_d"), quick);
    const some = await train(await goldenFeatures("wide_d"), { ...quick, classes: [3, "class 1"], out });
    const told = (record: ResultRecord) => record.results[0]!.classes!.map(({ name, cost }) => ({ name, cost }));
    expect(told(some)).toEqual([told(all)[3], told(all)[1]]);
    expect((await numbers("subset", "features", "crossval_ap.npy")).shape).toEqual([2, 2]);
    const files = readdirSync(path.join(out, "features")).filter((name) => name.startsWith("cls"));
    expect(files.sort()).toEqual(["cls1_cost0.01.npz", "cls1_cost1.0.npz", "cls3_cost0.01.npz", "cls3_cost1.0.npz"]);
  });

  test("chooses the first of equally good costs, in the order that they are given", async () => {
    // Ranked without a mistake at every cost.
    const features = await changedFeatures(({ data, labels, classes }) => {
      data.fill(0);
      for (let row = 0; row < labels.length / classes; row++) {
        for (let c = 0; c < classes; c++) {
          labels[row * classes + c] = (row + c) % 3 === 0 ? 1 : 0;
          data[row * 200 + c] = labels[row * classes + c]!;
          data[row * 200 + 10] = 1;
        }
      }
    });
    const record = await train(features, { ...quick, costs: [10, 0.1, 1] });
    expect(record.results[0]!.classes!.map(({ cost, ap }) => [cost, ap])).toEqual([1, 2, 3, 4].map(() => [10, 1]));
  });

  test("counts ignored labels as negatives in training, or drops them", async () => {
    const positives: number[][] = [];
    const ap: number[] = [];
    for (const ignoredInTraining of ["negative", "drop"] as const) {
      const { results } = await train(await goldenFeatures("wide_n"), { ...quick, ignoredInTraining });
      positives.push(results[0]!.classes!.map((one) => one.positives.train));
      ap.push(results[0]!.metrics.meanAp!.mean);
    }
    expect(positives[0]).toEqual(positives[1]);
    expect(ap[0]).not.toBe(ap[1]);
    // Without ignored labels there is no difference.
    const known = () => changedFeatures(({ labels }) => labels.forEach((label, i) => (labels[i] = Math.max(0, label))));
    const negative = await train(await known(), quick);
    const dropped = await train(await known(), { ...quick, ignoredInTraining: "drop" });
    expect(dropped.results[0]!.classes).toEqual(negative.results[0]!.classes);
  });

  test("takes data with one label an image, one class against the rest", async () => {
    const splits = {
      train: await cloudSource({ images: 160, seed: 1 }),
      test: await cloudSource({ images: 80, seed: 2 }),
    };
    const { results, data } = await train(cloudFeatures(splits), quick);
    expect(results.map(({ layer }) => layer)).toEqual(["shallow", "deep"]);
    expect(results[1]!.metrics.meanAp!.mean).toBeGreaterThan(0.7);
    const positives = results[0]!.classes!.map((one) => one.positives.test);
    expect(positives.reduce((sum, count) => sum + count, 0)).toBe(data.splits.test);
  });

  test("draws a test part where the data has none, and tells of rows of zeros", async () => {
    const notes: string[] = [];
    const progress = {
      note: (text: string) => void notes.push(text),
      task: () => ({ advance: () => {}, end: () => {} }),
    };
    const { splits, ...rest } = await changedFeatures(
      ({ split, data }) => split === "train" && data.fill(0, 0, 3 * 200),
    );
    const record = await train({ ...rest, splits: { all: splits.train! } }, { ...quick, testFraction: 0.3, progress });
    await splits.test!.close();
    expect(record.data.splits).toMatchObject({
      how: expect.stringContaining("30 % of all images, drawn by seed 0") as string,
    });
    expect(record.data.splits.train + record.data.splits.test!).toBe(150);
    const [sentence] = record.results[0]!.notes.filter((note) => note.includes("zeros"));
    const [, ofTrain, ofTest] = /^(\d) training and (\d) test images have features of zeros alone/.exec(sentence!)!;
    expect(Number(ofTrain) + Number(ofTest)).toBe(3);
    expect(notes.join()).toContain("features of zeros alone");
  });
});

const folderOfGolden = path.dirname(require.resolve("../../../__tests__/golden/svm/wide_d/expected.json"));

describe("what cannot be trained on is refused, and nothing is written", () => {
  const onlyOf = (split: "train" | "test", c: number, value: number, kept = 0) =>
    changedFeatures((of) => {
      let left = kept;
      for (let row = 0; of.split === split && row < of.labels.length / of.classes; row++) {
        const at = row * of.classes + c;
        if (of.labels[at] === 1 && left-- <= 0) of.labels[at] = value;
      }
    });
  const ways: [what: string, features: () => Promise<FeatureSet>, options: Partial<TrainSvmOptions>, sentence: string][] = [
    ["a class without positives", () => onlyOf("train", 1, 0), {}, "Expected at least 3 training images of every class, one a fold, but class 1 has 0"],
    ["a class that is not in every fold", () => onlyOf("train", 2, 0, 2), {}, "but class 2 has 2"],
    ["a class without test positives", () => onlyOf("test", 0, -1), {}, "Expected at least one test image of every class but class 0 has 0"],
    ["a class that all images show", () => changedFeatures(({ labels, classes }) => labels.forEach((_, i) => { if (i % classes === 3) labels[i] = 1; })), {}, "Expected at least 3 training images without each class, one a fold, but class 3 has 0"],
    ["a label that is none", () => changedFeatures(({ split, labels }) => { if (split === "test") labels[6] = 2; }), {}, "Expected 1 (present), 0 (absent) or -1 (ignored) for the label of class 2 in the test image 1 but received 2"],
    ["a feature that is not a number", () => changedFeatures(({ split, data }) => { if (split === "train") data[5 * 200 + 7] = NaN; }), {}, "Expected finite numbers for the features of layer features but image 5 has NaN at place 7"],
    ["an infinite feature of a test image", () => changedFeatures(({ split, data }) => { if (split === "test") data[3] = -Infinity; }), {}, "but image 0 has -Infinity at place 3"],
    ["constant features", () => changedFeatures(({ data }) => data.forEach((_, i) => { data[i] = i % 200; })), {}, "Expected features that differ between images for layer features but all 150 rows are equal"],
    ["a cost of zero", () => goldenFeatures("wide_d"), { costs: [0] }, "Expected numbers above 0 for the costs but received 0"],
    ["a cost that is repeated", () => goldenFeatures("wide_d"), { costs: [1, 0.1, 1] }, "Expected each cost once but received 1.0 twice"],
    ["one fold", () => goldenFeatures("wide_d"), { folds: 1 }, "Expected a whole number of at least 2 for the folds but received 1"],
    ["a class that is not there", () => goldenFeatures("wide_d"), { classes: ["class 7"] }, 'Expected a class of the data, by name or number, for --classes but received "class 7"'],
    ["a class twice", () => goldenFeatures("wide_d"), { classes: [0, "class 0"] }, "Expected each class once for --classes"],
    ["a layer that is not there", () => goldenFeatures("wide_d"), { layers: ["res5"] }, 'Expected a layer of the features for the layers but received "res5"'],
    ["a tolerance of zero", () => goldenFeatures("wide_d"), { tolerance: 0 }, "Expected a number above 0 for tolerance but received 0"],
  ]; // prettier-ignore

  test.each(ways)("%s", async (what, features, options, sentence) => {
    const out = path.join(folder, "refused", what);
    const error: unknown = await train(await features(), { costs: [0.1], out, ...options }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toContain(sentence);
    for (const file of ["result.json", "features"]) expect(existsSync(path.join(out, file))).toBe(false);
  });

  test("a folder of another configuration", async () => {
    const out = path.join(folder, "other");
    await train(await goldenFeatures("wide_d"), { costs: [0.1], tolerance: 1e-3, out });
    const before = await filesOf(out);
    const again = train(await goldenFeatures("wide_d"), { costs: [0.1], tolerance: 1e-3, loss: "hinge", out });
    await expect(again).rejects.toThrow(
      'to hold this configuration but it holds another: loss is "squared_hinge" there and "hinge" here',
    );
    expect(await filesOf(out)).toEqual(before);
  });
});

function withoutTimes({ startedAt: _, finishedAt: __, timings: ___, ...rest }: ResultRecord) {
  return rest;
}
