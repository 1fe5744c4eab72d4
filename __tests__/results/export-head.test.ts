import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { random } from "../../lib/random.js";
import {
  type BatchNormWeights,
  type HeadSpec,
  type HeadWeights,
  type HiddenWeights,
  linearHead,
} from "../../lib/heads/head.js";
import { exportHead, loadHead } from "../../lib/results/export-head.js";

const [channels, area, classes] = [5, 6, 3];
const width = channels * area;
const shape = [channels, 2, 3];
const names = ["ant", "bee", "cat"];

function numbers(purpose: string, length: number, from = -1): Float32Array {
  const stream = random(0, purpose);
  return Float32Array.from({ length }, () => from + (1 - from) * stream.uniform());
}

const linear: HeadWeights = { weight: numbers("weight", width * classes), bias: numbers("bias", classes) };
const batchNorm: BatchNormWeights = {
  gamma: numbers("gamma", channels),
  beta: numbers("beta", channels),
  mean: numbers("mean", channels),
  variance: numbers("variance", channels, 0),
};

/** Batch norm, then the linear layer, step by step in float64. */
function logits(features: Float32Array, head: HeadWeights): number[] {
  const rows = features.length / width;
  return Array.from({ length: rows * classes }, (_, index) => {
    const [row, k] = [Math.floor(index / classes), index % classes];
    let sum = head.bias[k]!;
    for (let i = 0; i < width; i++) {
      let x = features[row * width + i]!;
      if (head.batchNorm) {
        const c = Math.floor(i / area);
        const { gamma, beta, mean, variance } = head.batchNorm;
        x = ((x - mean[c]!) / Math.sqrt(variance[c]! + 1e-5)) * gamma[c]! + beta[c]!;
      }
      sum += x * head.weight[i * classes + k]!;
    }
    return sum;
  });
}

/** Logits of a model for `features`; disposes both. */
async function predict(model: tf.LayersModel, features: Float32Array): Promise<number[]> {
  const output = tf.tidy(() => model.predict(tf.tensor2d(features, [features.length / width, width])) as tf.Tensor);
  const values = Array.from(await output.data());
  output.dispose();
  model.dispose();
  return values;
}

describe("exportHead", () => {
  let dir: string;
  const features = numbers("features", 4 * width);
  const head = (weights: HeadWeights) =>
    linearHead({ layer: "block4", shape, name: weights.batchNorm ? "bn_fc" : "fc" });
  const save = (weights: HeadWeights) =>
    exportHead({ dir, head: head(weights), weights, classes: names, activation: "softmax" });
  beforeEach(async () => {
    dir = path.join(await mkdtemp(path.join(os.tmpdir(), "head-")), "heads", "block4.fc");
  });
  afterEach(() => rm(path.dirname(path.dirname(dir)), { recursive: true }));

  test.each<[string, HeadWeights]>([
    ["a linear head", linear],
    ["a batch norm and a linear head", { ...linear, batchNorm }],
  ])("%s gives its logits after tf.loadLayersModel and after loadHead", async (_, weightsOf) => {
    const before = tf.memory().numTensors;
    await save(weightsOf);
    expect((await readdir(dir)).sort()).toEqual(["head.json", "model.json", "weights.bin"]);

    // As a page would: model.json and the file that it names, nothing of ours.
    const json = JSON.parse(await readFile(path.join(dir, "model.json"), "utf8")) as tf.io.ModelJSON;
    const weights = await readFile(path.join(dir, json.weightsManifest[0]!.paths[0]!));
    const opened = await tf.loadLayersModel({
      load: async () => ({
        modelTopology: json.modelTopology,
        weightSpecs: json.weightsManifest[0]!.weights,
        weightData: new Uint8Array(weights).buffer,
      }),
    });
    const expected = logits(features, weightsOf);
    (await predict(opened, features)).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 4));

    const { model, description } = await loadHead({ dir });
    (await predict(model, features)).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 4));
    expect(description).toMatchObject({ layer: "block4", shape, width, classes: names });
    expect(tf.memory().numTensors).toBe(before);
  });

  test("says how the input is made", async () => {
    await save(linear);
    const { model, description } = await loadHead({ dir });
    model.dispose();
    expect(description.input).toBe(
      "float32 [batch, 30]: the features of block4, pooled to [5, 2, 3] (channels first) and flattened in that order",
    );
  });

  test.each<[string, Partial<Parameters<typeof exportHead>[0]>, string]>([
    [
      "a shape of another width",
      { head: { ...head(linear), shape: [7] } },
      "Expected 21 numbers for weight 0 of an exported head but received 90",
    ],
    [
      "classes of another number",
      { classes: ["a"] },
      "Expected 30 numbers for weight 0 of an exported head but received 90",
    ],
  ])("refuses %s", async (_, wrong, message) => {
    const right = { dir, head: head(linear), weights: linear, classes: names, activation: "softmax" as const };
    await expect(exportHead({ ...right, ...wrong })).rejects.toThrow(message);
  });

  test("keeps the layers of an MLP, the length of its input and its way to probabilities", async () => {
    const spec: HeadSpec = {
      ...head(linear),
      name: "mlp-4",
      input: "l2",
      hidden: [{ width: 4, batchNorm: false, relu: true, dropout: 0.5 }],
    };
    const weights: HeadWeights = {
      weight: numbers("last", 4 * classes),
      bias: numbers("last bias", classes),
      hidden: [{ weight: numbers("first", width * 4), bias: numbers("first bias", 4) }],
    };
    await exportHead({ dir, head: spec, weights, classes: names, activation: "sigmoid" });
    const { model, description } = await loadHead({ dir });
    expect(description).toMatchObject({ l2: true, hidden: [{ width: 4, relu: true }], activation: "sigmoid" });
    expect(description.input).toContain("then divided by their length");
    const row = features.subarray(0, width);
    const [{ weight, bias }] = weights.hidden as [HiddenWeights];
    const inside = Array.from(
      bias,
      (b, h) =>
      Math.max(0, row.reduce((sum, x, d) => sum + x * weight[d * 4 + h]!, b)), // prettier-ignore
    );
    const wanted = Array.from(weights.bias, (b, k) =>
      inside.reduce((sum, x, h) => sum + x * weights.weight[h * classes + k]!, b),
    );
    (await predict(model, row)).forEach((value, i) => expect(value).toBeCloseTo(wanted[i]!, 4));
  });

  test("does not open damaged or missing files", async () => {
    await expect(loadHead({ dir })).rejects.toThrow("Expected an exported head at");
    await save(linear);
    await writeFile(path.join(dir, "weights.bin"), new Uint8Array(4));
    await expect(loadHead({ dir })).rejects.toThrow("Expected the weights that head.json tells of");
    await rm(path.join(dir, "weights.bin"));
    await expect(loadHead({ dir })).rejects.toThrow("Expected the weights of a head at");
    await writeFile(path.join(dir, "head.json"), "{}");
    await expect(loadHead({ dir })).rejects.toThrow("Expected 1 for format in the exported head");
  });
});
