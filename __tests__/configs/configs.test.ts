import { readFileSync } from "node:fs";
import path from "node:path";

import { parseTransform } from "../../lib/images/transform.js";
import { parseLayers } from "../../lib/backbones/layers.js";
import type { Tap } from "../../lib/backbones/manifest.js";
import { configNames, configsFolder } from "../../lib/settings/configs.js";
import { readFlags } from "../../lib/settings/flags.js";
import { linearSettings } from "../../lib/settings/linear.js";
import { logregSettings, searchedOf } from "../../lib/settings/logreg.js";
import { loadSettings } from "../../lib/settings/load.js";
import { trainingOf } from "../../lib/settings/training.js";
import { svmSettings } from "../../lib/settings/svm.js";
import { logregDefaults } from "../../lib/protocols/cog/protocol.js";
import { svmDefaults } from "../../lib/protocols/svm/protocol.js";
import { headsOf } from "../../lib/protocols/linear/heads.js";
import { linearTrials, scaledRate } from "../../lib/protocols/linear/trials.js";
import { golden } from "../golden.js";

const names = configNames().filter((name) => /^(vissl|dinov2|ssl-small)\/(?!svm-)/.test(name));
const cogNames = configNames().filter((name) => name.startsWith("cog/"));
const headerOf = (name: string) =>
  /^(#.*\n)+/.exec(readFileSync(path.join(configsFolder, `${name}.yaml`), "utf8"))?.[0] ?? "";
const load = async (name: string, ...argv: string[]) =>
  loadSettings({
    definition: linearSettings,
    flags: readFlags({ definition: linearSettings, argv: ["--config", name, ...argv] }),
  });
const images = ["--backbone", "b", "--data", "folder:d"];

/** Taps of a ResNet-50, an AlexNet, a ViT-S of 12, 24 and 40 blocks, and a small network. */
const map = (name: string, side: number, channels: number): Tap => ({ name, node: name, kind: "map", shape: [side, side, channels], pooling: "avg" }); // prettier-ignore
const resnet = [map("conv1", 112, 64), map("res1", 56, 64), map("res2", 56, 256), map("res3", 28, 512), map("res4", 14, 1024), map("res5", 7, 2048)]; // prettier-ignore
const vector = (name: string): Tap => ({ name, node: name, kind: "vector", shape: [2048], pooling: "identity" });
const alexnet = [map("conv1", 55, 96), map("conv2", 27, 256), map("conv3", 13, 384), map("conv4", 13, 384), map("conv5", 13, 256)]; // prettier-ignore
const blocks: Tap[] = Array.from({ length: 40 }, (_, i) => ({ name: `block${i}`, node: `b${i}`, kind: "tokens" as const, shape: [257, 384], pooling: "cls" })); // prettier-ignore
const tapsFor = (name: string): Tap[] =>
  name.startsWith("dinov2")
    ? blocks
    : name === "vissl/alexnet"
      ? alexnet
      : name.startsWith("ssl-small")
        ? [vector("pooled")]
        : [...resnet, vector("res5avg")];

describe.each(names)("%s", (name) => {
  test("says its command, source, what is fixed, what differs, and what to expect", async () => {
    const header = headerOf(name);
    for (const word of ["Source", "Fixed", "Differs", "Expected", "Time"])
      expect(header).toMatch(new RegExp(`^# ${word} +\\S`, "m"));
    const [, command] = /^# {3}npx eval-linear (.*)$/m.exec(header) ?? [];
    const argv = command!.trim().split(" ");
    expect(argv.slice(0, 2)).toEqual(["--config", name]);
    const { protocol } = await load(name, ...argv.slice(2));
    expect(protocol?.id).toBe(name.replaceAll("/", "-"));
  });

  test("resolves: layers and transforms are there, and heads fit their layers", async () => {
    const { settings } = await load(name, ...images);
    for (const text of [settings.transform, settings.trainTransform]) {
      if (text !== undefined) expect(parseTransform(text).outputSize({ width: 300, height: 300 })).toEqual([224, 224]);
    }
    if (settings.features === "live") expect(parseTransform(settings.trainTransform!).random).toBe(true);
    const taps = tapsFor(name);
    const layers = settings.layers.flatMap((entry) =>
      typeof entry === "string"
        ? [{ name: entry, parts: entry.split("+").flatMap((piece) => parseLayers({ text: [piece], taps })) }]
        : [],
    );
    const featureLayers = layers.map(({ name: layer, parts }) => {
      const width = parts.reduce((sum, part) => sum + part.width, 0);
      return { name: layer, shape: parts.length === 1 ? parts[0]!.shape : [width], width };
    });
    if (name !== "vissl/linear") expect(featureLayers.length).toBe(settings.layers.length);
    expect(linearTrials(trainingOf(settings) as never).trials.length).toBe(name.startsWith("dinov2") ? 13 : 1);
    const heads = headsOf({ layers: featureLayers, heads: settings.heads, classes: 10 });
    expect(heads.length).toBeGreaterThan(0);
    if (name.startsWith("vissl/") && settings.layers.length > 1) {
      for (const { width } of featureLayers) expect([2048, 8192, 9216, 9600]).toContain(width);
    }
  });
});

test("VISSL on ImageNet-1k has seven heads", async () => {
  const { settings, protocol } = await load("vissl/imagenet1k", ...images);
  const layers = settings.layers.map((entry) => ({ name: entry as string, shape: [8], width: 8 }));
  const heads = headsOf({ layers, heads: settings.heads, classes: 1000 });
  expect(heads.map(({ layer, name }) => `${layer.split(":")[0]} ${name}`)).toEqual([
    "conv1 bn_fc",
    "res2 bn_fc",
    "res3 bn_fc",
    "res4 bn_fc",
    "res5 bn_fc",
    "res5avg bn_fc",
    "res5avg fc",
  ]);
  expect(protocol?.meantFor).toBe("8 processes x 32 images");
});

test("DINOv2 has 52 heads: 13 rates, of 256 images a step, on four inputs", async () => {
  const { settings } = await load("dinov2/linear", ...images);
  expect(settings.layers).toEqual([
    "block11:cls",
    "block11:cls+block11:patch_avg",
    "block8:cls+block9:cls+block10:cls+block11:cls",
    "block8:cls+block9:cls+block10:cls+block11:cls+block11:patch_avg",
  ]);
  expect(settings.optimizer.lr).toEqual([1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1]);
  expect(settings).toMatchObject({
    optimizer: { lrBatch: 256, weightDecay: [0], momentum: [0.9], nesterov: false },
    epochs: 10,
    batchSize: [1024],
    heads: [{ initial: "normal" }],
    selectOn: "val",
  });
  expect(trainingOf(settings).schedule).toEqual([{ kind: "cosine", per: "step" }]);
});

describe("DINOv2's classifiers", () => {
  interface Classifiers {
    by_total_batch: Record<string, { n: number; names: string[]; group_lrs: number[] }>;
  }
  const { by_total_batch: byBatch } = golden<Classifiers>("dinov2/classifiers.json");

  test.each(Object.entries(byBatch))("at %s images a step have its rates and names", async (batch, classifiers) => {
    const { settings } = await load("dinov2/linear", ...images, "--batch-size", batch);
    const training = trainingOf(settings) as never;
    const rates = linearTrials(training).trials.map((trial) => scaledRate(training, trial));
    const ours = settings.layers.flatMap((layer) => rates.map((lr) => ({ layer: layer as string, lr })));
    ours.forEach(({ lr }, i) => expect(lr / classifiers.group_lrs[i]!).toBeCloseTo(1, 12));
    expect(ours).toHaveLength(classifiers.group_lrs.length);
    const names = ours.map(({ layer, lr }) => {
      const parts = layer.split("+");
      const blocks = parts.filter((part) => part.endsWith(":cls")).length;
      const mean = parts.length > blocks ? "True" : "False";
      return `classifier_${blocks}_blocks_avgpool_${mean}_lr_${lr.toFixed(5).replace(".", "_")}`;
    });
    // Small rates are equal there in five decimals, and equal names are one.
    expect([...new Set(names)]).toEqual(classifiers.names);
    expect(new Set(names).size).toBe(classifiers.n);
  });
});

test("ssl-small has rate 30, and unit length in transfer", async () => {
  const { settings } = await load("ssl-small/transfer-cifar10", ...images);
  expect(settings).toMatchObject({
    heads: [{ input: "l2", initial: "normal" }],
    optimizer: { lr: [30], weightDecay: [0], momentum: [0.9], nesterov: false },
    epochs: 100,
    batchSize: [256],
    transform: "resize(224,bicubic)|normalize(imagenet)",
    trainTransform: "random_resized_crop(224,bicubic,scale=0.6..1)|hflip(0.5)|normalize(imagenet)",
  });
  expect(trainingOf(settings).schedule).toEqual([{ kind: "multistep", milestones: [60, 80], gamma: 0.1 }]);
});

test("VISSL's SVMs on VOC07 are the defaults, on five layers", async () => {
  const name = "vissl/svm-voc07";
  const [, command] = /^# {3}npx train-svm (.*)$/m.exec(headerOf(name)) ?? [];
  for (const word of ["Source", "Fixed", "Differs", "Expected", "Time"])
    expect(headerOf(name)).toMatch(new RegExp(`^# ${word} +\\S`, "m"));
  const argv = command!.trim().split(" ");
  expect(argv.slice(0, 2)).toEqual(["--config", name]);
  const flags = readFlags({ definition: svmSettings, argv });
  const { settings, protocol } = await loadSettings({ definition: svmSettings, flags });
  expect(protocol).toEqual({ id: "vissl-svm-voc07", version: 1, labels: "several" });
  expect(settings).toMatchObject(svmDefaults);
  expect(parseTransform(settings.transform!).outputSize({ width: 500, height: 375 })).toEqual([224, 224]);
  const layers = parseLayers({ text: settings.layers, taps: resnet });
  expect(layers.map(({ width }) => width)).toEqual([9216, 9216, 8192, 9216, 8192]);
});

test.each([
  ["vissl/svm-voc07-low-shot", "several", [1, 2, 4, 8, 16, 32, 64, 96], [9216, 8192]],
  ["vissl/svm-places205-low-shot", "one", [10, 100], [8192, 2048]],
])("%s draws few images of each class, five times", async (name, labels, lowShot, widths) => {
  for (const word of ["Source", "Fixed", "Differs", "Expected", "Time"])
    expect(headerOf(name)).toMatch(new RegExp(`^# ${word} +\\S`, "m"));
  const [, command] = /^# {3}npx train-svm (.*)$/m.exec(headerOf(name)) ?? [];
  const argv = command!.trim().split(" ");
  expect(argv.slice(0, 2)).toEqual(["--config", name]);
  const flags = readFlags({ definition: svmSettings, argv });
  const { settings, protocol } = await loadSettings({ definition: svmSettings, flags });
  expect(protocol).toEqual({ id: name.replace("/", "-"), version: 1, labels });
  expect([settings.lowShot, settings.samples]).toEqual([lowShot, 5]);
  const taps = [...resnet, vector("res5avg")];
  expect(parseLayers({ text: settings.layers, taps }).map(({ width }) => width)).toEqual(widths);
});

test("published settings let stored features and views in", async () => {
  expect((await load("vissl/imagenet1k", ...images, "--features", "stored")).settings.features).toBe("stored");
  expect((await load("vissl/imagenet1k", ...images, "--features", "stored", "--views", "4")).settings.views).toBe(4);
});

test.each(cogNames)("%s is the protocol's defaults, and says where it comes from", async (name) => {
  const header = headerOf(name);
  for (const word of ["Source", "Fixed", "Differs", "Expected", "Time"])
    expect(header).toMatch(new RegExp(`^# ${word} +\\S`, "m"));
  const [, command] = /^# {3}npx frozen-eval eval-logreg (.*)$/m.exec(header) ?? [];
  const flags = readFlags({ definition: logregSettings, argv: command!.trim().split(" ") });
  const { settings, protocol } = await loadSettings({ definition: logregSettings, flags });
  expect(protocol?.id).toBe(name.replace("/", "-"));
  const { asPublished, methods: _, ...defaults } = logregDefaults;
  expect(settings.methods).toEqual(["sgd"]);
  expect({ ...settings, ...searchedOf(settings) }).toMatchObject(defaults);
  expect(settings.asPublished).toBe(name === "cog/few-shot" ? true : asPublished);
});
