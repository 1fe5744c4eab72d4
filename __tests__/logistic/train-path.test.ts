import * as tf from "@tensorflow/tfjs";

import { arraySource } from "../../lib/features/array-source.js";
import { memoryRows } from "../../lib/logistic/memory-rows.js";
import { trainLogisticPath, type TrainLogisticPathOptions } from "../../lib/logistic/train-path.js";
import { ranks, topKAccuracy } from "../../lib/metrics/top-k.js";
import { LinearSvm } from "../../lib/svm/linear-svm.js";
import { featureRows } from "../../lib/training/feature-rows.js";
import { describeOnBackends } from "../backends.js";
import { classes, digits, width } from "./digits.js";

const all = digits();
const cut = 300;
const train = { features: all.features.slice(0, cut * width), labels: all.labels.slice(0, cut) };
const held = { features: all.features.slice(cut * width), labels: all.labels.slice(cut) };

describeOnBackends("a path of penalties", () => {
  const trained = async (options: Partial<TrainLogisticPathOptions> = {}) => {
    const [rows, heldRows] = [train, held].map(({ features }) => memoryRows({ features, width }));
    try {
      return await trainLogisticPath({
        rows: rows!,
        labels: train.labels,
        classes,
        validation: { rows: heldRows!, labels: held.labels },
        penalties: [1e-3, 1, 1e-1, 1e-2],
        ...options,
      });
    } finally {
      rows!.dispose();
      heldRows!.dispose();
    }
  };

  test("is judged on validation, and leaves no tensors", async () => {
    const before = tf.memory().numTensors;
    const { trials, chosen } = await trained();
    expect(trials[0]!.map(({ penalty }) => penalty)).toEqual([1, 1e-1, 1e-2, 1e-3]);
    const accuracies = trials[0]!.map(({ accuracy }) => accuracy);
    const best = accuracies.indexOf(Math.max(...accuracies));
    expect(best).toBeGreaterThan(0);
    expect(chosen[0]!.penalty).toBe(trials[0]![best]!.penalty);
    const scores = await new LinearSvm(chosen[0]!).decisionFunction({ rows: held.features });
    const again = topKAccuracy(ranks({ scores, labels: held.labels, classes }), 1);
    expect(accuracies[best]).toBe(again);
    expect(again).toBeGreaterThan(0.8);
    expect(tf.memory().numTensors).toBe(before);
  });

  test("without validation each problem is judged on the rows that it leaves out", async () => {
    const parts = [0, 1].map((fold) => Uint8Array.from(train.labels, (_, row) => (row % 2 === fold ? 1 : 0)));
    const { trials, chosen } = await trained({ parts, validation: undefined, penalties: [1e-2] });
    for (const [k, part] of parts.entries()) {
      const left = [...part.keys()].filter((row) => part[row] === 0);
      const rows = Float32Array.from(
        left.flatMap((row) => [...train.features.subarray(row * width, (row + 1) * width)]),
      );
      const scores = await new LinearSvm(chosen[k]!).decisionFunction({ rows });
      const labels = left.map((row) => train.labels[row]!);
      expect(trials[k]![0]!.accuracy).toBe(topKAccuracy(ranks({ scores, labels, classes }), 1));
    }
  });

  test("ends for a problem that gets worse", async () => {
    const wrong = train.labels.map((label) => (label + 1) % classes);
    const turned = { rows: memoryRows({ features: train.features, width }), labels: wrong };
    const { trials } = await trained({ validation: turned, penalties: [10, 1, 1e-1, 1e-2, 1e-3], patience: 2 });
    turned.rows.dispose();
    const own = trials[0]!;
    expect(own.length).toBeLessThan(5);
    const before = Math.max(...own.slice(0, -2).map(({ accuracy }) => accuracy));
    expect(own.slice(-2).every(({ accuracy }) => accuracy < before)).toBe(true);
  });

  test("over features of a source, read anew in every pass, is the same", async () => {
    const before = tf.memory().numTensors;
    const layers = { deep: { shape: [width], data: train.features } };
    const source = await arraySource({ layers, targets: { kind: "single", labels: train.labels } });
    const every = Uint32Array.from({ length: cut }, (_, row) => row);
    const penalties = [1e-2];
    const streamed = await trained({ rows: featureRows({ source, rows: every, layer: "deep" }), penalties });
    expect(streamed).toEqual(await trained({ penalties }));
    const rows = featureRows({ source, rows: every.subarray(0, 5), layer: "deep", normalize: true });
    await rows.visit(2, async (block, begin) => {
      const values = await block.data();
      for (let i = 0; i < block.shape[0]; i++) {
        const own = train.features.subarray((begin + i) * width, (begin + i + 1) * width);
        const length = Math.hypot(...own);
        const row = values.subarray(i * (width + 1), (i + 1) * (width + 1));
        own.forEach((value, j) => expect(row[j]).toBeCloseTo(value / length, 6));
        expect(row[width]).toBe(1);
      }
    });
    expect(() => featureRows({ source, rows: every, layer: "shallow" })).toThrow(
      'Expected one of deep for the layer but received "shallow"',
    );
    await source.close();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("says what is missing", async () => {
    await expect(trained({ penalties: [] })).rejects.toThrow("Expected at least one for the penalties");
    await expect(trained({ validation: undefined })).rejects.toThrow("Expected rows to judge on");
    const rows = memoryRows({ features: held.features, width });
    await expect(trained({ validation: { rows, labels: [1] } })).rejects.toThrow(
      "Expected 598 labels, one a row for the validation but received 1",
    );
  });
});
