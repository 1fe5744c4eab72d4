import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { digestOfGraph, openGraphFiles } from "../../lib/backbones/graph-files.js";
import { openNativeSession } from "../../lib/backend/native-session.js";
import { convertCheckpoint } from "../../lib/convert/convert.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { describeOnNative } from "../backends.js";
import { goldenPath } from "../golden.js";

let out: string;
beforeAll(async () => {
  out = await fs.mkdtemp(path.join(os.tmpdir(), "vits-"));
});
afterAll(() => fs.rm(out, { recursive: true, force: true }));

describeOnNative("a converted vision transformer", () => {
  test("runs in TensorFlow's own session, and its manifest tells the tokens before the patches'", async () => {
    const model = (file: string) => goldenPath(`checkpoints/models/vit_reg_swiglu/${file}`);
    const { dir, manifest } = await convertCheckpoint({ file: model("weights.pth"), out, title: "registers" });
    expect(
      manifest.taps.map(({ name, kind, pooling, prefix_tokens: prefix }) => [name, kind, pooling, prefix]),
    ).toEqual([
      ...["embed", "block0", "block1", "norm"].map((name) => [name, "tokens", "cls", 5]),
      ["pooled", "vector", "identity", undefined],
    ]);
    // Multiply-adds of the linear layers and of attention, in 21 tokens of 48 channels and two blocks.
    const block = 2 * 21 * 48 * (3 * 48 + 48 + 256 + 128) + 2 * 2 * 21 * 21 * 48;
    expect(manifest.flops).toBe(2 * block + 2 * 16 * 48 * 3 * 14 * 14);
    const session = await openNativeSession({
      modelJson: path.join(dir, "model.json"),
      digest: await digestOfGraph(await openGraphFiles(dir)),
      outputs: manifest.taps.map(({ node }) => node),
    });
    const { shape, data } = await readNpy({ file: model("input_nhwc.npy") });
    const input = tf.tensor(Float32Array.from(data as Float32Array), shape);
    const before = tf.memory().numTensors;
    const outputs = session.run(input);
    for (const [i, { name }] of manifest.taps.entries()) {
      const wanted = (await readNpy({ file: model(`taps/${name.replace("block", "block_")}.npy`) }))
        .data as Float32Array;
      const seen = await outputs[i]!.data();
      const largest = Math.max(...wanted.map(Math.abs));
      expect(wanted.every((value, at) => Math.abs(value - seen[at]!) < 2e-4 * largest)).toBe(true);
    }
    tf.dispose(outputs);
    expect(tf.memory().numTensors).toBe(before);
    input.dispose();
    session.dispose();
  });

  test("DINO's teacher is the network that was saved without its classifier", async () => {
    const file = goldenPath("checkpoints/files/dino_checkpoint.pth");
    const { manifest, prefix } = await convertCheckpoint({ file, out, title: "dino" });
    expect([manifest.arch, prefix]).toEqual(["vit_48x2_patch16", "teacher/backbone."]);
    expect(manifest.taps.map(({ name }) => name)).not.toContain("logits");
  });
});
