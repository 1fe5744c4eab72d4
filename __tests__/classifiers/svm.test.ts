import { readFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { prepareBackend } from "../../lib/backend/backend.js";
import { loadBackbone } from "../../lib/backbones/backbone.js";
import { exportClassifier } from "../../lib/classifiers/export-classifier.js";
import { openDataset } from "../../lib/datasets/open.js";
import { extractFeatures } from "../../lib/features/extract.js";
import { applyTransform, parseTransform } from "../../lib/images/transform.js";
import { trainLowShotSvm } from "../../lib/protocols/low-shot/low-shot-svm.js";
import { trainSvm, type TrainSvmOptions } from "../../lib/protocols/svm/svm.js";
import { fileNameOf } from "../../lib/results/wording.js";
import { temporaryFolder } from "../command-line.js";
import { complaint } from "../datasets/files.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";
import { loadPlain } from "./plain-tfjs.js";

jest.setTimeout(240_000);

const folder = temporaryFolder();
const inFolder = (...names: string[]) => path.join(folder, ...names);
const layers = ["block1:avg_pool(4x3,2,1)", "features"];
let backbone: string;

beforeAll(async () => {
  await prepareBackend({ device: "wasm" });
  backbone = await writeSmallBackbone({ root: inFolder("models") });
  await writeSmallImages({ folder: inFolder("photos"), count: 10 });
});

async function withFeatures<T>(use: (features: TrainSvmOptions["features"]) => Promise<T>): Promise<T> {
  const opened = await loadBackbone({ dir: backbone });
  const dataset = await openDataset({ spec: `folder:${inFolder("photos")}` });
  const features = await extractFeatures({ backbone: opened, dataset, layers, root: inFolder("features"), workers: 1 });
  try {
    return await use(features);
  } finally {
    await features.close();
    opened.dispose();
  }
}

/** Decision values of the reported images, as the run has kept them. */
function scoresOf(run: string, layer: string): { id: string; scores: number[] }[] {
  const file = path.join(run, "predictions", `${fileNameOf({ layer, head: "svm" })}.csv`);
  const [, ...lines] = readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(","));
  return lines.map(([, id, , , ...scores]) => ({ id: id!, scores: scores.map(Number) }));
}

test.each([
  [true, layers],
  [false, ["features"]],
])("SVMs (on unit length: %s) say to pixels in plain TensorFlow.js what the run says", async (normalize, exported) => {
  const run = inFolder(`run-${normalize}`);
  const settings = { backbone };
  await withFeatures((features) => trainSvm({ features, costs: [1, 10], folds: 2, normalize, out: run, settings }));
  for (const layer of exported) {
    const { dir, manifest } = await exportClassifier({ run, layer });
    if (manifest.input.kind !== "images") throw new Error("it takes images");
    expect([manifest.head, manifest.outputs.activation]).toEqual(["svm", "sigmoid"]);
    const transform = parseTransform(manifest.input.transform);
    const kept = scoresOf(run, layer);
    const images = await Promise.all(
      kept.map(({ id }) => applyTransform({ transform, source: { kind: "file", path: inFolder("photos", id) } })),
    );
    await tf.setBackend("cpu");
    const model = await loadPlain(dir);
    const logits = tf.tidy(() => {
      const pixels = tf.stack(images.map(({ data, height, width }) => tf.tensor3d(data, [height, width, 3])));
      return (model.execute(pixels, "logits") as tf.Tensor2D).arraySync();
    });
    model.dispose();
    await prepareBackend({ device: "wasm" });
    expect(kept.length).toBe(12);
    const largest = Math.max(...kept.flatMap(({ scores }) => scores.map(Math.abs)));
    kept.forEach(({ scores }, i) => {
      expect(scores).toHaveLength(manifest.classes.length);
      scores.forEach((score, c) => expect(Math.abs(logits[i]![c]! - score)).toBeLessThan(1e-4 * largest));
    });
  }
});

test("a low-shot run has nothing to export", async () => {
  const run = inFolder("low-shot");
  const few = { costs: [1], lowShot: [2], samples: 1, out: run, settings: { backbone } };
  await withFeatures((features) => trainLowShotSvm({ features, ...few }));
  expect(await complaint(exportClassifier({ run, layer: "features" }))).toMatch(
    /has drawn its images several times, and keeps numbers Train on all images/,
  );
});
