import * as tf from "@tensorflow/tfjs";

import { openCogFeatures } from "../../../lib/features/cog-features.js";
import type { FeatureSource } from "../../../lib/features/source.js";
import { silent } from "../../../lib/progress.js";
import { lbfgsMethod, penaltiesOf } from "../../../lib/protocols/cog/lbfgs.js";
import { logregProtocolOf } from "../../../lib/protocols/cog/protocol.js";
import type { Part } from "../../../lib/protocols/splits.js";
import { describeOnBackends } from "../../backends.js";
import { goldenPath } from "../../golden.js";

const classes = 20;
const sources: FeatureSource[] = [];
let [train, report]: Part[] = [];
beforeAll(async () => {
  for (const split of ["train", "test"]) {
    sources.push(await openCogFeatures({ file: goldenPath(`cog/features_${split}/X_Y.pth`) }));
  }
  [train, report] = sources.map((source) => ({ source, rows: Uint32Array.from({ length: source.size }, (_, i) => i) }));
});
afterAll(async () => {
  for (const source of sources) await source.close();
});

const fitted = (penalties: number[], choice?: { train: Part; val: Part }) =>
  lbfgsMethod.fit({
    layer: train!.source.layers[0]!,
    classes,
    seed: 22,
    settings: logregProtocolOf({ penalties }),
    choice,
    train: train!,
    report: report!,
    key: "",
    progress: silent,
  });

/** Rows of unit length with a last 1, and their labels. */
async function unitRows({ source, rows }: Part): Promise<{ x: number[][]; labels: number[] }> {
  const layer = source.layers[0]!.name;
  const x: number[][] = [];
  for await (const { features } of source.pass({ rows, batchSize: rows.length, layers: [layer] })) {
    const flat = features[layer]!.reshape<tf.Tensor2D>([-1, source.layers[0]!.width]);
    for (const row of await flat.array()) {
      const length = Math.hypot(...row);
      x.push([...row.map((value) => value / length), 1]);
    }
    tf.dispose([features, flat]);
  }
  if (source.targets.kind !== "single") throw new Error("several labels");
  return { x, labels: Array.from(source.targets.labels) };
}

const scoresOf = (w: number[][], row: number[]) =>
  w.map((own) => own.reduce((sum, value, d) => sum + value * row[d]!, 0));

/** Of mean cross-entropy + ½λ(‖W‖² + ‖b‖²), in float64. */
function gradientNorm(w: number[][], { x, labels }: { x: number[][]; labels: number[] }, penalty: number): number {
  const gradient = w.map((own) => own.map((value) => penalty * value));
  x.forEach((row, i) => {
    const scores = scoresOf(w, row);
    const powers = scores.map((score) => Math.exp(score - Math.max(...scores)));
    const total = powers.reduce((sum, power) => sum + power, 0);
    powers.forEach((power, c) => {
      const error = (power / total - Number(labels[i] === c)) / x.length;
      row.forEach((value, d) => (gradient[c]![d]! += error * value));
    });
  });
  return Math.hypot(...gradient.flat());
}

describeOnBackends("L-BFGS", () => {
  test("ends where the gradient of SGD's loss vanishes, weights and biases decayed, and is judged there", async () => {
    const penalty = 1e-3;
    const [rows, tested] = [await unitRows(train!), await unitRows(report!)];
    const before = tf.memory().numTensors;
    const { weights, top1, answers, converged, solution, selection, trials } = await fitted([penalty]);
    expect(tf.memory().numTensors).toBe(before);
    expect({ converged, selection, trials }).toEqual({ converged: true, selection: null, trials: [] });
    expect(solution!.gap).toBeLessThan(1e-4);
    const width = weights.weight.length / classes;
    const found = Array.from({ length: classes }, (_, c) => [
      ...Array.from({ length: width }, (_, d) => weights.weight[d * classes + c]!),
      weights.bias[c]!,
    ]);
    const start = gradientNorm(
      found.map((own) => own.map(() => 0)),
      rows,
      penalty,
    );
    expect(gradientNorm(found, rows, penalty) / start).toBeLessThan(0.05);
    const predicted = tested.x.map((row) => {
      const scores = scoresOf(found, row);
      return scores.indexOf(Math.max(...scores));
    });
    const same = predicted.filter((label, i) => label === answers.predicted[i]).length;
    expect(same / predicted.length).toBeGreaterThan(0.99);
    const right = tested.labels.filter((label, i) => label === answers.predicted[i]).length;
    expect(top1).toBeCloseTo(right / tested.labels.length, 6);
  });

  test("chooses on the images of the choice, and the middle where there are none", async () => {
    const { source, rows } = train!;
    const choice = {
      train: { source, rows: rows.filter((row) => row % 5 > 0) },
      val: { source, rows: rows.filter((row) => row % 5 === 0) },
    };
    const { chosen, selection, trials, solution } = await fitted([1e-4, 1, 1e-2], choice);
    expect(trials.map(({ setting }) => setting.penalty)).toEqual([1, 1e-2, 1e-4]);
    const best = trials.find((trial) => trial.selection === Math.max(...trials.map((one) => one.selection!)))!;
    expect({ chosen, selection }).toEqual({ chosen: best.setting, selection: best.selection });
    expect(chosen.penalty).toBeLessThan(1);
    const alone = await fitted([1e-4, 1, 1e-2]);
    expect({ chosen: alone.chosen, trials: alone.trials }).toEqual({ chosen: { penalty: 1e-2 }, trials: [] });
    expect(solution!.passes).toBeGreaterThan(alone.solution!.passes);
  });
});

test("the path has three penalties a decade, from the largest down", () => {
  const penalties = penaltiesOf(logregProtocolOf({}));
  expect([penalties.length, penalties[0], penalties[9], penalties[18]]).toEqual([19, 1e-3, 1e-6, 1e-9]);
});
