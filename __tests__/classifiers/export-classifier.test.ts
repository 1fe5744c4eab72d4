import { existsSync, readdirSync, statSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { digestOfGraph, openGraphFiles } from "../../lib/backbones/graph-files.js";
import { prepareBackend } from "../../lib/backend/backend.js";
import { exportClassifier } from "../../lib/classifiers/export-classifier.js";
import { loadClassifier } from "../../lib/classifiers/load-classifier.js";
import { readClassifierManifest } from "../../lib/classifiers/manifest.js";
import { sha256OfFile } from "../../lib/files.js";
import { applyTransform, parseTransform } from "../../lib/images/transform.js";
import { describeOnBackends } from "../backends.js";
import { temporaryFolder } from "../command-line.js";
import { smallClasses } from "../small-images.js";
import { loadPlain, readModelJson } from "./plain-tfjs.js";
import { evaluateSmall, predictionsOf, type SmallRun } from "./small-run.js";

// Heads are trained first, perhaps on a machine that has other work.
jest.setTimeout(240_000);

const folder = temporaryFolder();
const inFolder = (...names: string[]) => path.join(folder, ...names);
const layers = [
  "block0",
  "block1:avg_pool(4x3,2,1)",
  "block1:adaptive_max(3x2)",
  "block1:identity",
  "block1:max_pool(3x3,2,1)",
  "features",
];
let small: SmallRun;

beforeAll(async () => {
  await prepareBackend({ device: "wasm" });
  small = await evaluateSmall({ folder: inFolder("one"), layers, seeds: [3, 4] });
});

describe("a classifier in plain TensorFlow.js", () => {
  beforeAll(async () => {
    await tf.setBackend("cpu");
  });
  afterAll(async () => {
    await prepareBackend({ device: "wasm" });
  });

  test.each(layers.flatMap((layer) => ["fc", "bn_fc"].map((head) => [layer, head] as const)))(
    "%s under %s says what the run predicted of every reported image",
    async (layer, head) => {
      const { dir, manifest } = await exportClassifier({ run: small.run, layer, head });
      const model = await loadPlain(dir);
      const before = tf.memory().numTensors;
      const predictions = predictionsOf(small, { layer, head });
      expect(predictions).toHaveLength(small.record.data.splits.test!);
      if (manifest.input.kind !== "images") throw new Error("it takes images");
      const transform = parseTransform(manifest.input.transform);
      const images = await Promise.all(
        predictions.map(({ id }) =>
          applyTransform({ transform, source: { kind: "file", path: path.join(small.images, id) } }),
        ),
      );
      const [logits, probabilities] = tf.tidy(() => {
        const pixels = tf.stack(images.map(({ data, height, width }) => tf.tensor3d(data, [height, width, 3])));
        const outputs = model.execute(pixels, ["logits", "probabilities"]) as tf.Tensor2D[];
        return outputs.map((tensor) => tensor.arraySync());
      });
      // Were all of them certain, wrong numbers could pass for right ones.
      expect(Math.min(...predictions.map(({ probability }) => probability))).toBeLessThan(0.9);
      predictions.forEach(({ predicted, probability }, i) => {
        const best = probabilities![i]!.indexOf(Math.max(...probabilities![i]!));
        expect(manifest.classes[best]).toBe(predicted);
        expect(logits![i]!.indexOf(Math.max(...logits![i]!))).toBe(best);
        expect(Math.abs(probabilities![i]![best]! - probability)).toBeLessThan(1e-4);
        expect(probabilities![i]!.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5);
      });
      expect(tf.memory().numTensors).toBe(before);
      model.dispose();
    },
  );

  test("predict gives both outputs, for a batch of any size", async () => {
    const { dir } = await exportClassifier({ run: small.run, layer: "features", head: "fc" });
    const model = await loadPlain(dir);
    const shapes = tf.tidy(() => (model.predict(tf.zeros([3, 32, 32, 3])) as tf.Tensor[]).map(({ shape }) => shape));
    expect(shapes).toEqual([
      [3, 6],
      [3, 6],
    ]);
    model.dispose();
  });
});

describe("what is written", () => {
  test("the graph holds what the head needs, and nothing behind the tap", async () => {
    const { dir, bytes } = await exportClassifier({ run: small.run, layer: "block0", head: "fc" });
    const { modelTopology, weightsManifest } = readModelJson(dir);
    const { node } = modelTopology;
    expect(node.map(({ name }) => name)).toEqual(expect.arrayContaining(["images", "block0", "logits"]));
    expect(node.some(({ name }) => /^(conv1|block1|features)/.test(name))).toBe(false);
    // Backwards from the end, every node is met.
    const met = new Set<string>();
    const open = ["probabilities"];
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      met.add(name);
      open.push(...(node.find((each) => each.name === name)!.input ?? []));
    }
    expect([...met].sort()).toEqual(node.map(({ name }) => name).sort());
    const constants = node.filter(({ op }) => op === "Const").map(({ name }) => name);
    const weights = weightsManifest.flatMap((group) => group.weights.map(({ name }) => name));
    expect(weights.sort()).toEqual(constants.sort());
    expect(readdirSync(dir).sort()).toEqual(["classifier.json", "group1-shard1of1.bin", "model.json"]);
    expect(statSync(path.join(dir, "group1-shard1of1.bin")).size).toBe(bytes);
  });

  test("the manifest tells where it comes from", async () => {
    const { dir, manifest } = await exportClassifier({ run: small.run, layer: "block1:identity", head: "bn_fc" });
    expect(await readClassifierManifest(dir)).toEqual(manifest);
    expect(readModelJson(dir).userDefinedMetadata.classifier).toEqual(manifest);
    const result = small.record.results.find(({ layer, head }) => layer === "block1:identity" && head === "bn_fc")!;
    const transform = "resize(36,bilinear)|center_crop(32)|normalize(imagenet)";
    expect(manifest).toMatchObject({
      format: 1,
      classes: smallClasses,
      input: { kind: "images", node: "images", batch: "any", height: 32, width: 32, channels: "rgb", transform },
      outputs: { logits: "logits", probabilities: "probabilities", activation: "softmax" },
      layer: "block1:identity",
      head: "bn_fc",
      accuracy: { metric: "top1", value: result.metrics.top1!.values[0], split: "test", seed: 3 },
      run: { data: "photos", digest: await sha256OfFile(path.join(small.run, "result.json")) },
      backbone: { title: "small", arch: "convnet", digest: await digestOfGraph(await openGraphFiles(small.backbone)) },
    });
    if (manifest.input.kind !== "images") throw new Error("it takes images");
    expect(manifest.input.steps).toMatchObject([
      { kind: "resize", size: 36, filter: "bilinear" },
      { kind: "center_crop", size: { height: 32, width: 32 } },
      { kind: "normalize", divisor: 255, mean: [0.485, 0.456, 0.406] },
    ]);
  });

  test("without --head it is the head that did best where settings were chosen", async () => {
    const { manifest } = await exportClassifier({ run: small.run, layer: "features" });
    const heads = small.record.results.filter(({ layer }) => layer === "features");
    const best = Math.max(...heads.map(({ selection }) => selection!.mean));
    expect(heads.find(({ head }) => head === manifest.head)!.selection!.mean).toBe(best);
  });

  test("a classifier is replaced, anything else is left alone, and nothing half-written stays", async () => {
    const out = inFolder("taken");
    const asked = { run: small.run, layer: "features", head: "fc", out };
    await exportClassifier(asked);
    await fs.writeFile(path.join(out, "old.bin"), "left over");
    await exportClassifier(asked);
    expect(existsSync(path.join(out, "old.bin"))).toBe(false);

    await fs.mkdir(inFolder("mine"));
    await fs.writeFile(inFolder("mine", "notes.txt"), "mine");
    const refused = exportClassifier({ ...asked, out: inFolder("mine") });
    await expect(refused).rejects.toThrow(/Expected an empty folder or a classifier at .* but it holds notes.txt/);
    expect(readdirSync(inFolder("mine"))).toEqual(["notes.txt"]);

    // A weight file that ends early is found before anything is written.
    const broken = inFolder("broken");
    await fs.cp(small.backbone, broken, { recursive: true });
    const shard = path.join(broken, "group1-shard1of1.bin");
    await fs.truncate(shard, 100);
    await expect(exportClassifier({ ...asked, backbone: broken })).rejects.toThrow(/bytes of weights/);
    expect(readdirSync(folder).filter((name) => name.includes(".partial"))).toEqual([]);
    expect((await readClassifierManifest(out)).layer).toBe("features");
  });
});

test("a head alone takes pooled features", async () => {
  const layer = "block1:avg_pool(4x3,2,1)";
  const { dir, manifest } = await exportClassifier({ run: small.run, layer, head: "fc", headOnly: true });
  expect(path.basename(dir)).toMatch(/\.fc\.head-only$/);
  const width = small.record.results.find((result) => result.layer === layer)!.width;
  expect(manifest.input).toEqual({ kind: "features", node: "features", batch: "any", width });
  const model = await loadPlain(dir);
  const sum = tf.tidy(() => (model.execute(tf.ones([2, width]), "probabilities") as tf.Tensor).sum().arraySync());
  expect(sum).toBeCloseTo(2, 5);
  model.dispose();
  await expect(loadClassifier({ dir })).rejects.toThrow(/Expected a classifier of images .* takes features/);
});

describeOnBackends("loadClassifier", () => {
  test("classifies files, bytes and pixels as the run did, and leaves no tensor behind", async () => {
    const of = { layer: "block1:avg_pool(4x3,2,1)", head: "bn_fc" };
    const { dir } = await exportClassifier({ run: small.run, ...of });
    const before = tf.memory().numTensors;
    const classifier = await loadClassifier({ dir });
    const predictions = predictionsOf(small, of);
    const paths = predictions.map(({ id }) => path.join(small.images, id));
    // More than one batch.
    const answers = await classifier.classify({ images: [...paths, ...paths] });
    expect(answers).toHaveLength(2 * predictions.length);
    answers.forEach((answer, i) => {
      const { predicted, probability } = predictions[i % predictions.length]!;
      expect(answer.map((each) => each.class).sort()).toEqual(smallClasses);
      expect(answer[0]!.class).toBe(predicted);
      expect(Math.abs(answer[0]!.probability - probability)).toBeLessThan(1e-4);
    });
    const bytes = new Uint8Array(await fs.readFile(paths[0]!));
    const [again] = await classifier.classify({ images: [{ kind: "bytes", bytes }] });
    expect(again![0]!.class).toBe(answers[0]![0]!.class);
    expect(again![0]!.probability).toBeCloseTo(answers[0]![0]!.probability, 5);
    expect(await classifier.classify({ images: [] })).toEqual([]);
    await expect(classifier.classify({ images: [inFolder("nowhere.png")] })).rejects.toThrow(/nowhere.png/);
    classifier.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe("bad input", () => {
  const asked = { layer: "features", head: "fc" };
  const fails = (options: Partial<Parameters<typeof exportClassifier>[0]>) =>
    exportClassifier({ run: small.run, ...asked, out: inFolder("never"), ...options }).then(
      () => ({ message: "it worked", hint: "" }),
      ({ message, hint }: { message: string; hint?: string }) => ({ message, hint }),
    );
  const changedRun = async (name: string, change: (record: SmallRun["record"]) => void) => {
    const run = inFolder(name);
    await fs.cp(small.run, run, { recursive: true });
    const record = structuredClone(small.record);
    change(record);
    await fs.writeFile(path.join(run, "result.json"), JSON.stringify(record));
    return run;
  };
  afterEach(() => expect(existsSync(inFolder("never"))).toBe(false));

  test.each([
    ["a layer that is not there", { layer: "feature" }, /a layer of this run for --layer/, /Did you mean features/],
    ["a head that is not there", { head: "bn" }, /a head that the run has on features for --head/, /bn_fc/],
    ["a seed whose head was not kept", { seed: 4 }, /Expected 3, the first seed of the run,/, /--seeds 4/],
    ["a seed that was not run", { seed: 9 }, /Expected 3, the first seed of the run,/, /seeds 3, 4/],
    ["no run", { run: "nowhere" }, /Expected a result at nowhere/, undefined],
    ["no backbone", { backbone: "nowhere" }, /Expected a backbone's folder at nowhere/, undefined],
  ])("%s", async (_, options, message, hint) => {
    const failure = await fails(options);
    expect(failure.message).toMatch(message);
    if (hint) expect(failure.hint).toMatch(hint);
  });

  test("a result that is none", async () => {
    await fs.mkdir(inFolder("no-run"));
    await fs.writeFile(inFolder("no-run", "result.json"), "{");
    expect((await fails({ run: inFolder("no-run") })).message).toMatch(/Expected JSON for a result/);
  });

  test("two heads and nothing chosen", async () => {
    const run = await changedRun("unchosen", ({ results }) => results.forEach((each) => (each.selection = null)));
    expect((await fails({ run, head: undefined })).message).toBe(
      "Expected fc or bn_fc for --head but received nothing",
    );
  });

  test("a run whose heads are gone, or damaged", async () => {
    const run = await changedRun("headless", () => {});
    await fs.truncate(path.join(run, "heads", "features.fc", "weights.bin"), 8);
    expect((await fails({ run })).message).toMatch(/Expected the weights that head.json tells of/);
    await fs.rm(path.join(run, "heads"), { recursive: true });
    const { message, hint } = await fails({ run });
    expect(message).toMatch(/Expected the trained head at .*features\.fc but there is no such folder/);
    expect(hint).toMatch(/The same command, run again/);
  });

  test("a backbone that has changed", async () => {
    const other = inFolder("other");
    await fs.cp(small.backbone, other, { recursive: true });
    const shard = path.join(other, "group1-shard1of1.bin");
    const bytes = await fs.readFile(shard);
    bytes[5]! ^= 1;
    await fs.writeFile(shard, bytes);
    const { message } = await fails({ backbone: other });
    expect(message).toMatch(/Expected the backbone of this run, \w{12}…, for --backbone but .*other holds \w{12}…/);
  });

  test("a manifest whose pooling has changed", async () => {
    const edited = inFolder("edited");
    await fs.cp(small.backbone, edited, { recursive: true });
    const file = path.join(edited, "backbone.json");
    const text = await fs.readFile(file, "utf8");
    await fs.writeFile(file, text.replace('"pooling": "avg"', '"pooling": "identity"'));
    const { message } = await fails({ layer: "block0", backbone: edited });
    expect(message).toMatch(/Expected 8 numbers an image at block0, as the head was trained on, but .* gives 8192/);
  });

  test("features of the user's own have a head, but no classifier of images", async () => {
    const run = await changedRun("own", (record) => (record.backbone = null));
    const { message, hint } = await fails({ run });
    expect(message).toMatch(/Expected a run on images for export-classifier but received one on features of your own/);
    expect(hint).toBe("Export the head alone with --head-only.");
    const { manifest } = await exportClassifier({ run, ...asked, headOnly: true });
    expect(manifest.backbone).toBeNull();
  });

  test("a run on stored features does not know its backbone's folder", async () => {
    const run = await changedRun("stored", (record) => delete record.settings.backbone);
    const { message, hint } = await fails({ run });
    expect(message).toBe("Expected a folder for --backbone but received nothing");
    expect(hint).toMatch("small/convnet");
    const { manifest } = await exportClassifier({ run, ...asked, backbone: small.backbone });
    expect(manifest.input.kind).toBe("images");
  });

  test("a backbone that has moved", async () => {
    const run = await changedRun("moved", (record) => (record.settings.backbone = "models/gone"));
    const { message, hint } = await fails({ run });
    expect(message).toBe("Expected the backbone of this run at models/gone but there is no such folder");
    expect(hint).toBe("Name the folder of small/convnet with --backbone.");
  });

  test("classifier.json of another version, or with a wrong key", async () => {
    const { dir } = await exportClassifier({ run: small.run, ...asked, out: inFolder("read") });
    const file = path.join(dir, "classifier.json");
    const manifest = JSON.parse(await fs.readFile(file, "utf8")) as Record<string, unknown>;
    await fs.writeFile(file, JSON.stringify({ ...manifest, format: 2 }));
    await expect(loadClassifier({ dir })).rejects.toThrow(/Expected format 1 for the classifier/);
    await fs.writeFile(file, JSON.stringify({ ...manifest, classes: [] }));
    await expect(loadClassifier({ dir })).rejects.toThrow(/classes in the classifier/);
    await fs.rm(file);
    await expect(loadClassifier({ dir })).rejects.toThrow(/Expected an exported classifier at/);
  });
});
