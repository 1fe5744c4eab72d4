import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { arraySource } from "../../lib/features/array-source.js";
import type { FeatureSet } from "../../lib/features/feature-set.js";
import type { EvalLinearOptions } from "../../lib/protocols/linear/linear.js";
import { evalLinear } from "../../lib/protocols/linear/linear.js";
import { random } from "../../lib/random.js";
import { loadHead } from "../../lib/results/export-head.js";
import { readRecord } from "../../lib/results/record.js";
import { describeOnBackends } from "../backends.js";

const classes = 6;
const shape = [8, 2, 2];
const width = 32;

/** Clouds around class means; the deeper layer has them further apart. */
async function clouds(n: number, seed: number) {
  const stream = random(seed, "clouds");
  const labels = Int32Array.from({ length: n }, () => stream.integer(classes));
  const means = random(0, "means");
  const centre = Float32Array.from({ length: classes * width }, () => means.normal());
  const cloud = (distance: number) =>
    Float32Array.from({ length: n * width }, (_, i) => {
      const label = labels[Math.floor(i / width)]!;
      return distance * centre[label * width + (i % width)]! + stream.normal();
    });
  return arraySource({
    layers: { shallow: { shape, data: cloud(0.15) }, deep: { shape, data: cloud(0.6) } },
    targets: { kind: "single", labels },
  });
}

async function features(): Promise<FeatureSet> {
  const splits = { train: await clouds(300, 1), test: await clouds(150, 2) };
  return {
    splits,
    classes: Array.from({ length: classes }, (_, c) => `class ${c}`),
    data: { spec: "clouds", name: "clouds", digest: "0" },
    backbone: null,
    skipped: [],
    extraction: { images: 0, seconds: 0 },
    close: async () => {
      for (const source of Object.values(splits)) await source.close();
    },
  };
}

const short: Partial<EvalLinearOptions> = {
  optimizer: { lr: [0.01, 0.1, 3e38], weightDecay: [0, 0.01], momentum: 0.9, nesterov: true },
  schedule: { kind: "cosine", per: "epoch" },
  epochs: 6,
  batchSize: 50,
  seeds: [0, 1],
};

describeOnBackends("linear evaluation", () => {
  let out: string;
  beforeEach(async () => {
    out = path.join(await fs.mkdtemp(path.join(os.tmpdir(), "linear-")), "run");
  });
  afterEach(() => fs.rm(path.dirname(out), { recursive: true, force: true }));

  test("finds the layer in which the classes stand apart, leaves diverged settings out, and writes what it found", async () => {
    const given = await features();
    const record = await evalLinear({ ...short, features: given, out });
    const top1 = (layer: string, head: string) =>
      record.results.find((one) => one.layer === layer && one.head === head)!.metrics.top1!;
    for (const head of ["fc", "bn_fc"]) {
      expect(top1("deep", head).mean).toBeGreaterThan(0.85);
      expect(top1("shallow", head).mean).toBeLessThan(0.75);
      expect(top1("shallow", head).mean).toBeGreaterThan(1 / classes);
    }
    for (const { chosen, trials, notes } of record.results) {
      expect(chosen.lr).toBeLessThan(1);
      expect(trials.filter(({ diverged }) => diverged)).toHaveLength(2);
      expect(trials.every(({ diverged, selection }) => diverged === (selection === null))).toBe(true);
      expect(notes).toContain("2 of 6 settings diverged.");
    }
    expect(record.selection).toMatchObject({
      on: "held-out 10 % of train",
      reportedOn: "test",
      selectedOnReported: false,
    });
    expect(record.data.splits).toMatchObject({ test: 150 });

    expect(await readRecord(out)).toEqual(JSON.parse(JSON.stringify(record)));
    const lines = (await fs.readFile(path.join(out, "predictions", "deep.fc.csv"), "utf8")).trim().split("\n");
    expect(lines).toHaveLength(1 + 2 * 150);
    const right = lines.slice(1).filter((line) => line.endsWith(",1")).length;
    expect(right / 300).toBeCloseTo(top1("deep", "fc").mean, 10);

    // The saved head of the first seed, opened by tf.loadLayersModel, is right as often as the record says.
    const { model } = await loadHead({ dir: path.join(out, "heads", "deep.bn_fc") });
    const test = given.splits.test!;
    const rows = Uint32Array.from({ length: 150 }, (_, i) => i);
    for await (const batch of test.pass({ rows, batchSize: 150, layers: ["deep"] })) {
      const said = tf.tidy(() => (model.predict(batch.features.deep!) as tf.Tensor).argMax(1));
      const predicted = await said.data();
      const labels = test.targets.labels;
      expect(predicted.filter((c, i) => c === labels[i]).length / 150).toBeCloseTo(
        top1("deep", "bn_fc").values[0]!,
        10,
      );
      tf.dispose([said, batch.features]);
    }
    model.dispose();
    await given.close();
  });

  test("gives the same numbers again, alone or beside other layers and seeds, and when it is taken up half-way", async () => {
    const given = await features();
    const whole = await evalLinear({ ...short, features: given });
    const again = await evalLinear({ ...short, features: given });
    expect(again.results).toEqual(whole.results);

    const oneSeed = await evalLinear({ ...short, features: given, seeds: [1] });
    for (const [i, result] of oneSeed.results.entries()) {
      const same = whole.results[i]!.trials;
      result.trials.forEach(({ selection }, t) => expect(selection?.values[0]).toBe(same[t]!.selection?.values[1]));
    }

    const stop = new AbortController();
    let steps = 0;
    const stopping = {
      note: () => {},
      task: () => ({ advance: () => void (++steps === 14 && stop.abort(new Error("stopped"))), end: () => {} }),
    };
    await expect(
      evalLinear({ ...short, features: given, out, progress: stopping, signal: stop.signal }),
    ).rejects.toThrow("stopped");
    const notes: string[] = [];
    const counted = { note: (text: string) => void notes.push(text), task: stopping.task };
    const resumed = await evalLinear({ ...short, features: given, out, progress: counted });
    expect(notes).toContain("training goes on after epoch 2 of 6 and 2 steps");
    expect(resumed.results).toEqual(whole.results);
    await given.close();
  });

  test("tells of a best rate at the edge of the grid, but not where another rate does as well", async () => {
    const given = await features();
    const notes = async (lr: number[], weightDecay: number[]) => {
      const optimizer = { lr, weightDecay, momentum: 0.9, nesterov: true };
      const { results } = await evalLinear({ ...short, features: given, heads: ["fc"], optimizer });
      return results.find(({ layer }) => layer === "deep")!.notes;
    };
    expect(await notes([1e-7, 0.05], [0])).toContain("The largest learning rate tried was the best: try larger ones.");
    expect(await notes([0.05, 0.0500001], [0])).toEqual([]);
    expect(await notes([0.05], [0, 1e-9])).toEqual([]);
    await given.close();
  });

  test("leaves no tensor behind", async () => {
    const before = tf.memory().numTensors;
    const given = await features();
    await evalLinear({ ...short, epochs: 2, features: given });
    await given.close();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("evaluates images with several labels by mean AP, what is unknown left out", async () => {
    const stream = random(0, "several");
    const [n, count] = [240, 3];
    const x = Float32Array.from({ length: n * 4 }, () => stream.normal());
    // Each class is a side of one coordinate; a tenth of the labels is unknown.
    const labels = Int8Array.from({ length: n * count }, (_, i) =>
      stream.uniform() < 0.1 ? -1 : Number(x[4 * Math.floor(i / count) + (i % count)]! > 0.3),
    );
    const source = await arraySource({
      layers: { a: { shape: [4], data: x } },
      targets: { kind: "multi", labels, classes: count },
    });
    const given: FeatureSet = { ...(await features()), splits: { all: source }, classes: ["left", "up", "near"] };
    const record = await evalLinear({ ...short, features: given, heads: ["fc", "mlp(8)"], out });
    expect(record.selection.metric).toBe("meanAp");
    for (const { metrics, head } of record.results) {
      expect([head, metrics.top1]).toEqual([head, undefined]);
      expect(metrics.meanAp!.mean).toBeGreaterThan(0.85);
    }
    const csv = await fs.readFile(path.join(out, "predictions", "a.fc.csv"), "utf8");
    expect(csv.split("\n")[0]).toBe("seed,id,targets,ignored,left,up,near");
    expect(csv.trimEnd().split("\n")).toHaveLength(1 + 2 * 48);
    await source.close();
  });

  test("says what it cannot evaluate", async () => {
    const given = await features();
    const hopeless = { lr: [3e38], weightDecay: [1], momentum: 0.9, nesterov: true };
    await expect(evalLinear({ ...short, features: given, optimizer: hopeless })).rejects.toThrow(
      "Expected a setting under which shallow fc trains, but all of them diverged",
    );
    await expect(evalLinear({ ...short, features: { ...given, classes: ["one"] } })).rejects.toThrow(
      "Expected at least two classes for a linear evaluation",
    );
    await given.close();
  });
});
