import fs from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../../lib/backend/backend.js";
import { encodeNpy } from "../../lib/features/npy.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { openFeatures } from "../../lib/features/open-features.js";
import type { FeatureSet } from "../../lib/features/feature-set.js";
import { trainLowShotSvm, type TrainLowShotSvmOptions } from "../../lib/protocols/low-shot/low-shot-svm.js";
import { lowShotResults } from "../../lib/results/low-shot-table.js";
import { formatTable } from "../../lib/results/table.js";
import { temporaryFolder } from "../command-line.js";
import { complaint } from "../datasets/files.js";
import { describeOnBackends } from "../backends.js";
import { golden, goldenPath } from "../golden.js";

jest.setTimeout(120_000);

const folder = temporaryFolder();
const svm = (name: string) => goldenPath(`svm/${name}`);

interface Expected {
  costs: number[];
  k_values: number[];
  sample_inds: number[];
  returned: Record<string, { mean: number; min: number; max: number; std: number }>;
  test_ap: Record<string, number[]>;
  test_ap_exact: Record<string, number[]>;
  mean: number[][];
  min: number[][];
  max: number[][];
  std: number[][];
}
const expected = golden<Expected>("svm/low_shot/expected.json");

/** The features and labels of the golden values; their layer is called res5 there, and `features` here. */
async function withFeatures<T>(use: (features: FeatureSet) => Promise<T>): Promise<T> {
  const features = await openFeatures({
    spec: `npy:${svm("wide_n/train_features.npy")},${svm("wide_n/train_targets.npy")}`,
    testSpec: `npy:${svm("wide_n/test_features.npy")},${svm("wide_n/test_targets.npy")}`,
  });
  try {
    return await use(features);
  } finally {
    await features.close();
  }
}

/** VISSL's draws under the name of the layer here. */
async function drawsOfVissl(): Promise<string> {
  const draws = path.join(folder, "draws");
  await fs.mkdir(draws, { recursive: true });
  for (const name of await fs.readdir(svm("low_shot"))) {
    if (name.endsWith(".npy"))
      await fs.copyFile(svm(`low_shot/${name}`), path.join(draws, name.replace("res5", "features")));
  }
  return draws;
}

const numbers = async (file: string) => {
  const { shape, data } = await readNpy({ file });
  return { shape, data: Array.from(data as Float64Array) };
};

function expectNear(values: number[], wanted: number[], tolerance: number): void {
  expect(values).toHaveLength(wanted.length);
  values.forEach((value, i) => expect(Math.abs(value - wanted[i]!)).toBeLessThan(tolerance));
}

describeOnBackends("VISSL's draws", ({ device }) => {
  test("give VISSL's numbers, in its files", async () => {
    const out = path.join(folder, device);
    const { costs, k_values: lowShot, sample_inds } = expected;
    const draws = await drawsOfVissl();
    const before = tf.memory().numTensors;
    const record = await withFeatures((features) =>
      trainLowShotSvm({ features, costs, lowShot, samples: sample_inds.length, lowShotTargets: draws, out }),
    );
    expect(tf.memory().numTensors).toBe(before);
    for (const [name, aps] of Object.entries(expected.test_ap)) {
      const { shape, data } = await numbers(path.join(out, "features", `test_ap_${name}.npy`));
      expect(shape).toEqual([1, costs.length]);
      expectNear(data, aps, 5e-3);
      expectNear(data, expected.test_ap_exact[name]!, 1e-3);
    }
    for (const name of ["mean", "min", "max", "std"] as const) {
      const { shape, data } = await numbers(path.join(out, "features", `test_ap_${name}.npy`));
      expect(shape).toEqual([lowShot.length, costs.length]);
      expectNear(data, expected[name].flat(), 5e-3);
    }
    for (const {
      converged,
      lowShot: { k, oracle, costs: chosen },
    } of lowShotResults(record)) {
      const { mean, min, max, std } = expected.returned[`k=${k}`]!;
      const { values } = oracle.meanAp;
      const told = [oracle.meanAp.mean, Math.min(...values), Math.max(...values), oracle.meanAp.std];
      expectNear(
        told.map((value) => 100 * value),
        [mean, min, max, std],
        0.3,
      );
      expect(converged).toBe(true);
      if (k === 1) expect(chosen).toEqual([1, 1, 1]);
    }
  });
});

describe("low-shot SVMs", () => {
  beforeAll(async () => {
    await prepareBackend({ device: "wasm" });
  });
  const small = { costs: [0.1, 10], lowShot: [1, 3], samples: 2 };
  const run = (options: Partial<TrainLowShotSvmOptions>) =>
    withFeatures((features) => trainLowShotSvm({ features, ...small, ...options }));

  test("draw k images of each class, and so many others, as VISSL does", async () => {
    const out = path.join(folder, "drawn");
    const record = await run({ out });
    const all = (await readNpy({ file: svm("wide_n/train_targets.npy") })).data as Int32Array;
    const draws = new Set<string>();
    for (const sample of [1, 2]) {
      const { shape, dtype, data } = await readNpy({ file: path.join(out, `features_sample${sample}_k3.npy`) });
      expect([shape, dtype]).toEqual([[420, 6], "int32"]);
      const labels = data as Int32Array;
      labels.forEach((label, i) => expect([-1, all[i]]).toContain(label));
      for (let c = 0; c < 6; c++) {
        const column = labels.filter((_, i) => i % 6 === c);
        expect([1, 0].map((value) => column.filter((label) => label === value).length)).toEqual([3, 15]);
      }
      draws.add(labels.join());
    }
    expect(draws.size).toBe(2);
    // Another run reads them, draws the same again, and so gets the same numbers.
    const results = JSON.stringify(record.results);
    expect(JSON.stringify((await run({ lowShotTargets: out })).results)).toBe(results);
    expect(JSON.stringify((await run({})).results)).toBe(results);
    expect(JSON.stringify((await run({ splitSeed: 1 })).results)).not.toBe(results);
  });

  test("tell which cost was chosen on the drawn images, and which on the test images", async () => {
    const record = await run({ out: path.join(folder, "told") });
    expect([record.protocol.id, record.seeds]).toEqual(["svm-low-shot", [1, 2]]);
    const [one, three] = lowShotResults(record);
    expect([one!.head, three!.head]).toEqual(["svm_k1", "svm_k3"]);
    // With one image there is nothing to hold out.
    expect([one!.selection, one!.notes]).toEqual([null, ["Of so few images none can be held out: the cost is 0.1"]]);
    const { lowShot, trials, metrics } = three!;
    lowShot.costs.forEach((cost, s) => {
      const crossval = trials.map(({ selection }) => selection!.values[s]!);
      expect(cost).toBe(small.costs[crossval.indexOf(Math.max(...crossval))]);
      expect(metrics.meanAp!.values[s]).toBe(lowShot.byCost[small.costs.indexOf(cost)]!.values[s]);
    });
    expect(lowShot.oracle.meanAp.mean).toBe(Math.max(...lowShot.byCost.map(({ mean }) => mean)));
    const table = formatTable(record, { kind: "text" });
    expect(table).toContain("chosen on test: TOO GOOD");
    expect(table).toContain("2 samples drawn by seed 0");
    const lines = (await fs.readFile(path.join(folder, "told", "low_shot.csv"), "utf8")).trim().split("\n");
    expect(lines).toHaveLength(1 + 2 * 2 * 2);
    expect(await fs.readFile(path.join(folder, "told", "low_shot.svg"), "utf8")).toContain("images of each class");
  });

  test("go on where they were stopped, with the same result", async () => {
    const whole = await run({});
    const out = path.join(folder, "stopped");
    const stop = new AbortController();
    let done = 0;
    const advance = () => {
      if (++done === 2) stop.abort();
    };
    const progress = { note: () => {}, task: () => ({ advance, end: () => {} }) };
    await expect(run({ out, progress, signal: stop.signal })).rejects.toThrow();
    expect((await fs.readdir(path.join(out, "training"))).sort()).toEqual([
      "features.sample1_k1.json",
      "features.sample2_k1.json",
    ]);
    const before = (await fs.stat(path.join(out, "features_sample1_k1.npy"))).mtimeMs;
    const record = await run({ out });
    expect(record.results).toEqual(whole.results);
    expect((await fs.stat(path.join(out, "features_sample1_k1.npy"))).mtimeMs).toBe(before);
    await expect(fs.stat(path.join(out, "training"))).rejects.toThrow();
  });

  test("a class by itself gets what it gets among others", async () => {
    const byCost = async (classes: number[]) => {
      const record = await run({ classes, lowShot: [3], samples: 1 });
      return lowShotResults(record)[0]!.lowShot.byCost.map(({ mean }) => mean);
    };
    const [both, first, second] = [await byCost([1, 4]), await byCost([1]), await byCost([4])];
    // Solutions within the tolerance may rank two images otherwise.
    expectNear(both, first.map((ap, i) => (ap + second[i]!) / 2), 2e-3); // prettier-ignore
  });

  test("of images with one label draw k of each class, and leave out a k that some class cannot give", async () => {
    const labels = Int32Array.from({ length: 60 }, (_, row) => (row < 30 ? 0 : row < 55 ? 1 : 2));
    const X = Float32Array.from(
      { length: 60 * 4 },
      (_, i) => Math.sin(7 * i) + (i % 4 === labels[Math.floor(i / 4)] ? 2 : 0),
    );
    const [x, y] = [path.join(folder, "single-x.npy"), path.join(folder, "single-y.npy")];
    await fs.writeFile(x, encodeNpy({ dtype: "float32", shape: [60, 4], data: X }));
    await fs.writeFile(y, encodeNpy({ dtype: "int32", shape: [60], data: labels }));
    const features = await openFeatures({ spec: `npy:${x},${y}`, testSpec: `npy:${x},${y}` });
    const out = path.join(folder, "single");
    const record = await trainLowShotSvm({ features, costs: [1], lowShot: [4, 5, 6], samples: 1, out });
    const [four, five, ...more] = lowShotResults(record);
    expect(more).toEqual([]);
    expect([four!.lowShot.images, five!.lowShot.images]).toEqual([[12], [15]]);
    expect(five!.notes).toContain("Left out: k = 6, for the images of 2 allow 5.");
    expect(four!.metrics.meanAp!.mean).toBeGreaterThan(0.6);
    const { shape, data } = await readNpy({ file: path.join(out, "features_sample1_k5.npy") });
    expect(shape).toEqual([60, 1]);
    const drawn = data as Int32Array;
    expect([0, 1, 2].map((label) => drawn.filter((of) => of === label).length)).toEqual([5, 5, 5]);
    expect(await complaint(trainLowShotSvm({ features, lowShot: [6], samples: 1 }))).toContain(
      "Expected at least 6 training images of every class, and as many as --low-shot needs without it, but 2 allows 5",
    );
    await features.close();
  });

  test("bad input is told", async () => {
    expect(await complaint(run({ lowShot: [2, 2] }))).toContain(
      "Expected whole numbers from 1, each once, for --low-shot",
    );
    expect(await complaint(run({ samples: 0 }))).toContain("Expected a whole number from 1 for --samples");
    const draws = path.join(folder, "other-draws");
    await fs.mkdir(draws);
    const draw = (labels: number[], rows: number) =>
      fs.writeFile(
        path.join(draws, "features_sample1_k1.npy"),
        encodeNpy({ dtype: "int32", shape: [rows, 6], data: Int32Array.from(labels) }),
      );
    const read = () => run({ lowShot: [1], samples: 1, lowShotTargets: draws });
    expect(await complaint(read())).toContain("features_sample1_k1.npy but there is no such file");
    await draw(new Array<number>(12).fill(-1), 2);
    expect(await complaint(read())).toContain("Expected labels of shape [420, 6]");
    const all = (await readNpy({ file: svm("wide_n/train_targets.npy") })).data as Int32Array;
    const wrong = Array.from(all, (label, i) => (i === 8 ? (label === 1 ? 0 : 1) : -1));
    await draw(wrong, 420);
    expect(await complaint(read())).toMatch(
      /Expected -1 or the label -?\d of training image 1 for 2 in .* drawn from other images/,
    );
    await draw(new Array<number>(420 * 6).fill(-1), 420);
    expect(await complaint(read())).toContain("Expected images with and without 0 in sample 1 of k = 1");
  });
});
