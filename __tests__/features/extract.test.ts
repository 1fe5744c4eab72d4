import fs from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { loadBackbone, type Backbone } from "../../lib/backbones/backbone.js";
import { parseLayers } from "../../lib/backbones/layers.js";
import { openDataset } from "../../lib/datasets/open.js";
import { extractFeatures, type ExtractFeaturesOptions } from "../../lib/features/extract.js";
import type { FeatureSet } from "../../lib/features/feature-set.js";
import type { FeatureSource } from "../../lib/features/source.js";
import { applyTransform, parseTransform } from "../../lib/images/transform.js";
import { describeOnBackends } from "../backends.js";
import { temporaryFolder } from "../command-line.js";
import { complaint } from "../datasets/files.js";
import { writeSmallBackbone } from "../small-backbone.js";
import { writeSmallImages } from "../small-images.js";
import { relativeGap } from "./relative-gap.js";
import { filesOf } from "./synthetic.js";

const images = 42;

describeOnBackends("extraction", ({ tolerance }) => {
  const folder = temporaryFolder();
  const photos = path.join(folder, "photos");
  let backbone: Backbone;
  beforeAll(async () => {
    backbone = await loadBackbone({ dir: await writeSmallBackbone({ root: path.join(folder, "models") }) });
    await writeSmallImages({ folder: photos, count: images / 6 });
  });
  afterAll(() => backbone.dispose());

  const extract = async (root: string, options: Partial<ExtractFeaturesOptions> = {}, data = photos) => {
    const dataset = await openDataset({ spec: `folder:${data}` });
    return extractFeatures({ backbone, dataset, root: path.join(folder, root), workers: 2, ...options });
  };
  const storeOf = (root: string, data = "photos") => path.join(folder, root, "small", "convnet", data, "features_all");

  test("gives what the backbone gives for each image by itself, and leaves no tensor behind", async () => {
    const before = tf.memory().numTensors;
    const features = await extract("whole", { batchSize: 8 });
    const all = features.splits.all!;
    expect(features.extraction.images).toBe(images);
    expect(features).toMatchObject({
      skipped: [],
      backbone: { title: "small", arch: "convnet", precision: "float32" },
    });
    expect(all.layers.map(({ name, shape }) => ({ name, shape }))).toEqual([
      { name: "block0", shape: [8] },
      { name: "block1", shape: [16] },
      { name: "features", shape: [16] },
    ]);
    const dataset = await openDataset({ spec: `folder:${photos}` });
    const layers = parseLayers({ text: "all", taps: backbone.taps });
    const transform = parseTransform(backbone.manifest.transform);
    for (const row of [0, 7, 8, images - 1]) {
      const { data, height, width } = await applyTransform({
        source: await dataset.splits.all!.source(row),
        transform,
      });
      const pixels = tf.tensor4d(data, [1, height, width, 3]);
      const alone = await backbone.extract({ pixels, layers });
      for (const { name } of layers) {
        expect(relativeGap(await valuesOf(all, name, [row]), await alone[name]!.data())).toBeLessThan(tolerance);
      }
      tf.dispose([pixels, alone]);
    }
    expect(all.ids[8]).toBe("blue-striped/001.png");
    expect(all.targets.labels[8]).toBe(1);
    await features.close();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("gives an image the same features whatever batch it is in, and with any number of workers", async () => {
    const [one, other] = [await extract("whole"), await extract("batches", { batchSize: 1, workers: 1 })];
    const rows = Array.from({ length: images }, (_, row) => row);
    for (const { name } of one.splits.all!.layers) {
      const [a, b] = [await valuesOf(one.splits.all!, name, rows), await valuesOf(other.splits.all!, name, rows)];
      expect(relativeGap(a, b)).toBeLessThan(tolerance);
    }
    await closeAll(one, other);
  });

  test("extracts only what the store lacks", async () => {
    const first = await extract("layers", { layers: "block1" });
    const file = path.join(storeOf("layers"), "block1.avg", "00000.npy");
    const { mtimeMs } = await fs.stat(file);
    const more = await extract("layers", { layers: ["block1", ["block0", ["AvgPool2d", [[16, 16], 16, 0]]]] });
    expect((await fs.stat(file)).mtimeMs).toBe(mtimeMs);
    expect(more.extraction.images).toBe(images);
    expect(more.splits.all!.layers.map(({ name }) => name)).toEqual(["block1", "block0:avg_pool(16x16,16,0)"]);
    const all = await extract("layers", { layers: "block0:avg_pool(16x16,16,0),block1" });
    expect(all.extraction).toEqual({ images: 0, seconds: 0 });
    // Four quarters of a map have the mean of the whole, channel by channel.
    const quarters = await valuesOf(all.splits.all!, "block0:avg_pool(16x16,16,0)", [5]);
    const means = Array.from({ length: 8 }, (_, c) => quarters.slice(4 * c, 4 * c + 4).reduce((a, b) => a + b) / 4);
    const whole = await extract("whole");
    expect(relativeGap(means, await valuesOf(whole.splits.all!, "block0", [5]))).toBeLessThan(tolerance);
    await closeAll(first, more, all, whole);
  });

  test("writes nothing where the store is whole: it may stand where nobody can write", async () => {
    const open = fs.open;
    jest.spyOn(fs, "open").mockImplementation((file, flags = "r", mode) => {
      if (flags !== "r") throw new Error(`opened ${String(file)} to write`);
      return open(file, flags, mode);
    });
    try {
      await expect(extract("unwritable")).rejects.toThrow("to write");
      const features = await extract("whole", { layers: "features" });
      expect(features.extraction.images).toBe(0);
      expect(await valuesOf(features.splits.all!, "features", [0])).toHaveLength(16);
      await features.close();
    } finally {
      jest.restoreAllMocks();
    }
  });

  test("stops when it is told to, goes on from there, and gives the same bytes", async () => {
    const stop = new AbortController();
    const notes: string[] = [];
    const progress = {
      note: (text: string) => void notes.push(text),
      task: () => ({ advance: () => stop.abort(new Error("stopped")), end: () => {} }),
    };
    const before = tf.memory().numTensors;
    await expect(extract("stopped", { progress, signal: stop.signal })).rejects.toThrow("stopped");
    expect(tf.memory().numTensors).toBe(before);
    await closeAll(await extract("stopped"), await extract("undisturbed"));
    expect(await filesOf(storeOf("stopped"))).toEqual(await filesOf(storeOf("undisturbed")));
  });

  test("names bad images when all have been tried; or leaves them out, and says which", async () => {
    const flawed = path.join(folder, "flawed");
    await fs.cp(photos, flawed, { recursive: true });
    await fs.writeFile(path.join(flawed, "blue", "002.png"), "");
    await fs.truncate(path.join(flawed, "red", "006.png"), 700);
    const held = tf.memory().numTensors;
    const told = await complaint(extract("bad", {}, flawed));
    expect(told).toMatch(
      /Expected 42 images that can be read but received 2 bad ones:\n.*blue\/002\.png: .*\n.*red\/006/,
    );
    expect(tf.memory().numTensors).toBe(held);

    const features = await extract("bad", { onBadImage: "skip" }, flawed);
    const all = features.splits.all!;
    expect(features.skipped.map(({ id }) => id)).toEqual(["blue/002.png", "red/006.png"]);
    expect(all.size).toBe(images - 2);
    expect(all.ids).not.toContain("blue/002.png");
    // What stands behind a bad image has kept its own features.
    const whole = await extract("whole");
    const [bad, good] = [await valuesOf(all, "features", [2]), await valuesOf(whole.splits.all!, "features", [3])];
    expect(all.ids[2]).toBe(whole.splits.all!.ids[3]);
    expect(relativeGap(bad, good)).toBeLessThan(tolerance);
    await closeAll(features, whole);
  });

  test("says what it cannot do, before it reads an image", async () => {
    expect(await complaint(extract("no", { layers: "blok1" }))).toContain("Did you mean block1");
    expect(await complaint(extract("no", { splits: ["val"] }))).toContain("the splits of folder:");
    expect(await complaint(extract("no", { transform: "resize(24x24,bilinear)|normalize(imagenet)" }))).toContain(
      "32x32",
    );
    expect(await complaint(extract("no", { lookAhead: 1e9 }))).toContain("Expected a look-ahead that fits into");
    // Only the look-ahead is seen to be wrong when the store is open: it is left as one that is to be begun.
    const left = Object.keys(await filesOf(path.join(folder, "no")));
    expect(left.map((name) => path.basename(name))).toEqual(["journal.jsonl", "store.json"]);
  });
});

async function closeAll(...sets: FeatureSet[]): Promise<void> {
  for (const set of sets) await set.close();
}

async function valuesOf(source: FeatureSource, layer: string, rows: number[]): Promise<Float32Array> {
  for await (const { features } of source.pass({
    rows: Uint32Array.from(rows),
    batchSize: rows.length,
    layers: [layer],
  })) {
    const values = (await features[layer]!.data()) as Float32Array;
    tf.dispose(features);
    return values;
  }
  throw new Error("no rows");
}
