import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { runInNewContext } from "node:vm";

import * as tf from "@tensorflow/tfjs";

import { loadBackbone } from "../../lib/backbones/backbone.js";
import { inspectGraphModel, writeManifest } from "../../lib/backbones/inspect.js";
import { parseLayers } from "../../lib/backbones/layers.js";
import { cacheFolder } from "../../lib/downloads/cache.js";
import { downloadNpmPackage } from "../../lib/downloads/npm.js";
import { describeOnBackends } from "../backends.js";
import { temporaryFolder } from "./small-graph.js";

/** Features by graph, layer and device. */
const fingerprints = new Map<string, number[]>();

/** A graph for single images whose head ends in a list of boxes. */
async function centernet(): Promise<string> {
  const name = "@vladmandic/human";
  const folder = await downloadNpmPackage({
    name,
    version: "3.3.6",
    integrity: "sha512-Nr5mPfq1gQ+uKeXY5uM3Fj8UxvF5CEh2s6txM5wRThqaW0mF9huooOuZSrT8hhGho0hGaXLFdAwfD/2+teCv6A==",
    into: path.join(cacheFolder(), "tests", "human-3.3.6"),
    filter: (file) => file.startsWith("models/centernet."),
  });
  const dir = temporaryFolder();
  for (const file of ["centernet.json", "centernet.bin"]) {
    copyFileSync(path.join(folder, "models", file), path.join(dir, file));
  }
  return dir;
}

/** A quantised MobileNetV2; its package holds each file as base64 in a JavaScript module. */
async function mobilenet(): Promise<string> {
  const folder = await downloadNpmPackage({
    name: "nsfwjs",
    version: "4.3.0",
    integrity: "sha512-WTKDte0vp1X97N1h34P79G/hG+sVT3+TnDz9di1WseIJR93v11E4viNX7Vg9WsO6HYoR772Nzq2iM8jo3XBZ+g==",
    into: path.join(cacheFolder(), "tests", "nsfwjs-4.3.0"),
    filter: (file) => file.startsWith("dist/models/mobilenet_v2_mid/"),
  });
  const dir = path.join(temporaryFolder(), "mobilenet_v2_mid");
  mkdirSync(dir);
  // The modules are data in the clothes of code: they see nothing but the object that they fill.
  const load = (file: string): unknown => {
    const code = readFileSync(path.join(folder, "dist/models/mobilenet_v2_mid", `${file}.min.js`), "utf8");
    const scope = { exports: {}, module: { exports: {} as unknown } };
    runInNewContext(code, scope);
    return scope.module.exports;
  };
  writeFileSync(path.join(dir, "model.json"), JSON.stringify(load("model")));
  for (const shard of ["group1-shard1of2", "group1-shard2of2"]) {
    writeFileSync(path.join(dir, shard), Buffer.from(load(shard) as string, "base64"));
  }
  return dir;
}

describeOnBackends("graphs that others made", ({ device }) => {
  test.each([
    {
      make: mobilenet,
      taps: ["Conv", "expanded_conv", ...numbered(1, 16), "Conv_1", "pooled"],
      size: 224,
      batch: "any",
      last: 1792,
    },
    {
      make: centernet,
      taps: ["Conv", "expanded_conv", ...numbered(1, 14), "extern1", "CenternetHead"],
      size: 512,
      batch: 1,
      last: 128,
    },
  ])("$make.name: a manifest is proposed, and all its layers can be extracted", async ({ make, taps, size, batch, last }) => {
    const before = tf.memory().numTensors;
    const dir = await make();
    const inspection = await inspectGraphModel({ dir });
    expect(inspection.manifest.taps.map(({ name }) => name)).toEqual(taps);
    expect(inspection.manifest.input).toMatchObject({ height: size, width: size, batch });
    await writeManifest({ inspection });

    const backbone = await loadBackbone({ dir });
    const layers = parseLayers({ text: "all", taps: backbone.taps });
    const pixels = tf.randomUniform<tf.Rank.R4>([2, size, size, 3], 0, 1, "float32", 1);
    const features = await backbone.extract({ pixels, layers });
    expect(Object.keys(features)).toEqual(taps);
    expect(features[taps.at(-1)!]!.shape).toEqual([2, last]);
    for (const layer of layers) {
      const values = await features[layer.name]!.data();
      expect(values.every(Number.isFinite)).toBe(true);
      expect(values.some((value) => value !== 0)).toBe(true);
      fingerprints.set(`${make.name} ${layer.name} ${device}`, [...values]);
    }
    tf.dispose([pixels, features]);
    backbone.dispose();
    expect(tf.memory().numTensors).toBe(before);
  }, 300_000); // prettier-ignore
});

test("native TensorFlow and WebAssembly agree", () => {
  expect(fingerprints.size).toBeGreaterThan(0);
  for (const [name, values] of fingerprints) {
    const others = fingerprints.get(name.replace(/ native$/, " wasm"))!;
    const largest = Math.max(...values.map(Math.abs));
    const gap = Math.max(...values.map((value, i) => Math.abs(value - others[i]!)));
    expect(gap).toBeLessThan(1e-3 * largest);
  }
});

function numbered(first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, i) => `expanded_conv_${first + i}`);
}
