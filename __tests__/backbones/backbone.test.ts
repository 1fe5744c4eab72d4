import { readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { loadBackbone } from "../../lib/backbones/backbone.js";
import { inspectGraphModel, writeManifest } from "../../lib/backbones/inspect.js";
import { parseLayers } from "../../lib/backbones/layers.js";
import { UserError } from "../../lib/errors.js";
import { describeOnBackends } from "../backends.js";
import { writeSmallGraph, type SmallGraphOptions } from "./small-graph.js";

async function smallBackbone(options: SmallGraphOptions = {}): Promise<string> {
  const dir = writeSmallGraph(options);
  await writeManifest({ inspection: await inspectGraphModel({ dir, title: "test", arch: "small" }) });
  return dir;
}

const images = (count: number, size = 8) => tf.randomNormal<tf.Rank.R4>([count, size, size, 3], 0, 1, "float32", 3);

describeOnBackends("a backbone", () => {
  test("gives the features of several layers in one pass, and leaves no tensor behind", async () => {
    const before = tf.memory().numTensors;
    const backbone = await loadBackbone({ dir: await smallBackbone() });
    const layers = parseLayers({ text: "stem:max_pool(3,2,1),block_2,block_2:identity,pooled", taps: backbone.taps });
    const pixels = images(3);
    const features = await backbone.extract({ pixels, layers });
    expect(Object.fromEntries(Object.entries(features).map(([name, { shape }]) => [name, shape]))).toEqual({
      "stem:max_pool(3x3,2,1)": [3, 64],
      block_2: [3, 6],
      "block_2:identity": [3, 96],
      pooled: [3, 6],
    });
    // The graph's own mean of the last map.
    expect(gap(await features.block_2!.data(), await features.pooled!.data())).toBeLessThan(1e-6);
    tf.dispose([pixels, features]);
    backbone.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("gives an image the same features alone and in a batch, also where the graph takes one or two at a time", async () => {
    const pixels = images(3);
    const results: Float32Array[] = [];
    for (const batch of [-1, 1, 2]) {
      const backbone = await loadBackbone({ dir: await smallBackbone({ batch }) });
      expect(backbone.manifest.input.batch).toBe(batch === -1 ? "any" : batch);
      const layers = parseLayers({ text: "block_1:identity", taps: backbone.taps });
      const held = tf.memory().numTensors;
      const { "block_1:identity": together } = await backbone.extract({ pixels, layers });
      expect(tf.memory().numTensors).toBe(held + 1);
      results.push((await together!.data()) as Float32Array);
      const second = pixels.slice(1, 1);
      const { "block_1:identity": alone } = await backbone.extract({ pixels: second, layers });
      const row = together!.slice(1, 1);
      expect(gap(await alone!.data(), await row.data())).toBeLessThan(1e-5);
      tf.dispose([together!, alone!, second, row]);
      backbone.dispose();
    }
    pixels.dispose();
    expect(gap(results[0]!, results[1]!)).toBeLessThan(1e-5);
    expect(gap(results[0]!, results[2]!)).toBeLessThan(1e-5);
  });

  test("computes no further than the deepest layer asked for", async () => {
    const more = [{ name: "net/head", op: "NoSuchOp", input: ["net/block_2/Relu"] }];
    const backbone = await loadBackbone({ dir: await smallBackbone({ more }) });
    const pixels = images(1);
    const features = await backbone.extract({ pixels, layers: parseLayers({ text: "all", taps: backbone.taps }) });
    expect(Object.keys(features)).toEqual(["stem", "block_1", "block_2", "pooled"]);
    tf.dispose([pixels, features]);
    backbone.dispose();
  });

  test("refuses images of another size, and a manifest of another graph", async () => {
    const dir = writeSmallGraph({ size: -1 });
    await writeManifest({ inspection: await inspectGraphModel({ dir, inputSize: [8, 8] }) });
    const backbone = await loadBackbone({ dir });
    const pixels = images(1, 9);
    const layers = parseLayers({ text: "pooled", taps: backbone.taps });
    await expect(backbone.extract({ pixels, layers })).rejects.toThrow(/images of \[N, 8, 8, 3\]/);
    backbone.dispose();
    changeManifest(dir, (text) => text.replaceAll('"height": 8', '"height": 9').replaceAll('"width": 8', '"width": 9'));
    const stale = await loadBackbone({ dir });
    const held = tf.memory().numTensors;
    await expect(stale.extract({ pixels, layers: parseLayers({ text: "stem", taps: stale.taps }) })).rejects.toThrow(
      /at node net\/stem\/Relu .tap stem of the manifest. but received \[1, 9, 9, 4\]/,
    );
    expect(tf.memory().numTensors).toBe(held);
    stale.dispose();
    pixels.dispose();
  });
});

describe("a backbone's files", () => {
  test("the digest follows graph and weights", async () => {
    const dir = await smallBackbone();
    const digest = async () => {
      const backbone = await loadBackbone({ dir });
      backbone.dispose();
      return backbone.digest;
    };
    const first = await digest();
    expect(await digest()).toBe(first);
    const weights = path.join(dir, "weights0.bin");
    const bytes = readFileSync(weights);
    bytes[3]! ^= 1;
    writeFileSync(weights, bytes);
    expect(await digest()).not.toBe(first);
  });

  test.each<[string, (dir: string) => void, RegExp]>([
    ["no folder", (dir) => rmSync(dir, { recursive: true }), /a backbone's folder at .* no such file/],
    ["no model", (dir) => rmSync(path.join(dir, "model.json")), /one TensorFlow.js graph model in .* received "?none/],
    ["JSON cut short", (dir) => truncateSync(path.join(dir, "model.json"), 100), /Expected JSON/],
    ["other JSON", (dir) => writeFileSync(path.join(dir, "model.json"), "{}"), /its modelTopology is wrong/],
    ["a LayersModel", (dir) => writeFileSync(path.join(dir, "model.json"), '{"modelTopology":{"model_config":{}}}'), /received a Keras LayersModel/],
    ["no weights", (dir) => rmSync(path.join(dir, "weights1.bin")), /a weight file at .*weights1.bin/],
    ["weights cut short", (dir) => truncateSync(path.join(dir, "weights0.bin"), 999), /2016 bytes of weights but received 2015: .*weights0.bin .999 bytes/],
    ["weights too long", (dir) => writeFileSync(path.join(dir, "weights1.bin"), Buffer.alloc(1200)), /received 2200: .*weights1.bin .1200 bytes/],
    ["no manifest", (dir) => rmSync(path.join(dir, "backbone.json")), /a backbone's manifest at .*backbone.json/],
    ["an unknown key", (dir) => changeManifest(dir, (text) => text.replace('"kind"', '"knd"')), /taps.0.knd|taps.0.kind/],
    ["a wrong kind", (dir) => changeManifest(dir, (text) => text.replace('"kind": "map"', '"kind": "mop"')), /taps.0.kind in .*received "mop"/],
    ["another input size", (dir) => changeManifest(dir, (text) => text.replace('"width": 8', '"width": 9')), /8, as the graph has it, for input.width/],
    ["no such node", (dir) => changeManifest(dir, (text) => text.replace("net/stem/Relu", "net/stem/Rel")), /taps.0.node in .*received "net\/stem\/Rel"/],
    ["a wrong pooling", (dir) => changeManifest(dir, (text) => text.replace('"pooling": "avg"', '"pooling": "mean"')), /taps.0.pooling in .*received "mean"/],
    ["two taps of one name", (dir) => changeManifest(dir, (text) => text.replace('"name": "block_1"', '"name": "Stem"')), /another name than stem for taps.1.name/],
  ])("%s: told in one sentence", async (_, spoil, message) => {
    const dir = await smallBackbone({ splitAt: 1000 });
    spoil(dir);
    const error = await loadBackbone({ dir }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toMatch(message);
  }); // prettier-ignore

  test("without a manifest the way to make one is told", async () => {
    const error = await loadBackbone({ dir: writeSmallGraph() }).catch((thrown: unknown) => thrown);
    expect((error as UserError).hint).toContain("npx frozen-eval inspect");
  });
});

function changeManifest(dir: string, change: (text: string) => string): void {
  const file = path.join(dir, "backbone.json");
  const text = readFileSync(file, "utf8");
  expect(change(text)).not.toBe(text);
  writeFileSync(file, change(text));
}

function gap(left: ArrayLike<number>, right: ArrayLike<number>): number {
  expect(left.length).toBe(right.length);
  return Math.max(...Array.from(left, (value, i) => Math.abs(value - right[i]!)));
}
