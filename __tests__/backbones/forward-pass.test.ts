import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { applyPooling } from "../../lib/backbones/apply-pooling.js";
import { loadBackbone } from "../../lib/backbones/backbone.js";
import { eagerForwardPass, openForwardPass } from "../../lib/backbones/forward-pass.js";
import { openGraphFiles } from "../../lib/backbones/graph-files.js";
import { parseLayers } from "../../lib/backbones/layers.js";
import { convertCheckpoint } from "../../lib/convert/convert.js";
import { random } from "../../lib/random.js";
import { describeOnNative } from "../backends.js";
import { goldenPath } from "../golden.js";

// A small network with random weights of each family.
const networks = [
  "checkpoints/models/resnet_bottleneck/weights.pth",
  "checkpoints/models/vit_cls/weights.pth",
  "checkpoints/models/vit_reg_swiglu/weights.pth",
  "convnets/convnextv2_timm.pth",
  "convnets/swin_timm.pth",
  "convnets/mobilenetv2_timm.pth",
  "convnets/mobilenetv3_timm.pth",
  "convnets/efficientnet_lukemelas.pth",
  "vits/deit_distilled.pth",
  "vits/eva02_packed.pth",
  "vits/hf_clip.pth",
  "vits/siglip.pth",
  "vits/sam.pth",
];

describeOnNative("the session of a network", ({ tolerance }) => {
  let out: string;
  beforeAll(() => (out = mkdtempSync(path.join(os.tmpdir(), "frozen-eval-test-"))));
  afterAll(() => rmSync(out, { recursive: true }));

  test.each(networks)("%s: every tap, pooled in the graph, equals the execution op by op", async (file) => {
    const { dir } = await convertCheckpoint({ file: goldenPath(file), out, title: "test" });
    const before = tf.memory().numTensors;
    const backbone = await loadBackbone({ dir });
    const files = await openGraphFiles(dir);
    const { taps, manifest } = backbone;
    const { height, width, node: inputNode } = manifest.input;
    const layers = parseLayers({ text: [...taps.map(({ name }) => name), ...morePoolings(taps)], taps });
    const stream = random(1, "images");
    const input = tf.tensor4d(Float32Array.from({ length: 2 * height * width * 3 }, () => stream.normal()), [2, height, width, 3]); // prettier-ignore
    const native = await openForwardPass({ files, inputNode });
    const eager = await eagerForwardPass({ files, inputNode });
    const pooled = (await native.runPooled!({ input, layers }))!;
    const outputs = await eager.run({ input, nodes: [...new Set(taps.map(({ node }) => node))] });
    for (const [i, layer] of layers.entries()) {
      const expected = tf.tidy(() => {
        const tap = outputs[[...new Set(taps.map(({ node }) => node))].indexOf(layer.tap.node)]!;
        const features = tap.reshape([2, ...layer.tap.shape]);
        return applyPooling({ pooling: layer.pooling, features }).reshape([2, -1]);
      });
      // Nothing larger than the layer leaves the session.
      expect(pooled[i]!.shape).toEqual([2, layer.width]);
      const [seen, wanted] = [await pooled[i]!.data<"float32">(), await expected.data<"float32">()];
      const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const worst = wanted.reduce((most, value, at) => Math.max(most, Math.abs(value - seen[at]!)), 0);
      expect({ layer: layer.name, ok: worst <= tolerance * largest, difference: worst / largest }).toMatchObject({ ok: true }); // prettier-ignore
      expect(largest).toBeGreaterThan(0);
      expected.dispose();
    }
    tf.dispose([input, pooled, outputs]);
    native.dispose();
    eager.dispose();
    backbone.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

/** Poolings that are no tap's own, of the first map and the first tokens. */
function morePoolings(taps: Awaited<ReturnType<typeof loadBackbone>>["taps"]): string[] {
  const map = taps.find(({ shape }) => shape.length === 3 && shape[0]! >= 4);
  const tokens = taps.find(({ shape }) => shape.length === 2);
  return [
    ...(map ? ["identity", "max", "max_pool(3,2,1)", "avg_pool(2)", "adaptive_avg(3x2)"].map((pooling) => `${map.name}:${pooling}`) : []), // prettier-ignore
    ...(tokens ? ["identity", "avg", "patch_avg"].map((pooling) => `${tokens.name}:${pooling}`) : []),
  ];
}
