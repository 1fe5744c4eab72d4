import { writeFileSync } from "node:fs";
import fs from "node:fs/promises";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";
import fc from "fast-check";

import { openForwardPass } from "../../lib/backbones/forward-pass.js";
import { openGraphFiles } from "../../lib/backbones/graph-files.js";
import { readOnnx } from "../../lib/checkpoints/onnx/model.js";
import { importOnnx } from "../../lib/convert/onnx.js";
import { traceOnnx } from "../../lib/convert/onnx/graph.js";
import { UserError } from "../../lib/errors.js";
import { describeOnBackends } from "../backends.js";
import { onnxFile } from "../checkpoints/onnx-file.js";
import type { SmallModel } from "../checkpoints/onnx-file.js";
import { goldenPath } from "../golden.js";
import "../properties.js";

let root: string;
beforeAll(async () => (root = await fs.mkdtemp(path.join(os.tmpdir(), "onnx-"))));
afterAll(() => fs.rm(root, { recursive: true }));

const model = (name: string) => goldenPath(`checkpoints/models/${name}/model.onnx`);

async function imported(content: SmallModel | string, taps?: string[]) {
  const file = typeof content === "string" ? content : path.join(root, "small.onnx");
  if (typeof content !== "string") writeFileSync(file, onnxFile(content));
  return importOnnx({ file, out: root, title: "test", arch: "small", taps });
}

const conv = { op: "Conv", inputs: ["x", "w"], outputs: ["c"], name: "first" };
const weights = { w: { shape: [2, 3, 1, 1], values: [1, 2, 3, 4, 5, 6] } };

describe("importOnnx", () => {
  test("proposes the ends of blocks where no taps are named", async () => {
    const { manifest, warnings } = await imported(model("resnet_basic"));
    expect(manifest.taps.map(({ kind, shape }) => [kind, ...shape])).toEqual(
      expect.arrayContaining([
        ["map", 21, 21, 4],
        ["map", 11, 11, 8],
        ["map", 6, 6, 16],
        ["map", 3, 3, 32],
        ["vector", 32],
      ]),
    );
    expect(warnings).toEqual([expect.stringContaining("The transform is a guess")]);
  });

  test("takes nodes by name, by what they give, and by glob", async () => {
    const { manifest } = await imported(model("vit_cls"), ["norm", "block_*"]);
    expect(manifest.taps.map(({ name, kind, shape }) => [name, kind, ...shape])).toEqual([
      ["norm", "tokens", 17, 48],
      ["block_0", "tokens", 17, 48],
      ["block_1", "tokens", 17, 48],
    ]);
    const { manifest: small } = await imported({ nodes: [conv], weights, outputs: ["c"] }, ["first"]);
    expect(small.taps).toMatchObject([{ name: "first", shape: [4, 4, 2] }]);
  });

  test("maps lie as NHWC throughout: no transposes in a convolutional network", async () => {
    for (const name of ["resnet_basic", "mobilenet_v3", "efficientnet", "convnext"]) {
      const { graph } = await imported(model(name));
      expect([name, graph.nodes.filter(({ op }) => op === "Transpose").length]).toEqual([name, 0]);
    }
  });

  test.each([
    [
      "an operator that is not known",
      { nodes: [{ op: "TopK", inputs: ["x"], outputs: ["y"], name: "best" }] },
      "received TopK at the node best",
    ],
    ["an operator of somebody else's", { nodes: [{ op: "Relu", inputs: ["x"], outputs: ["y"], domain: "com.example" }] }, "received com.example.Relu at the node y"], // prettier-ignore
    ["an input that nobody computes", { nodes: [{ op: "Relu", inputs: ["z"], outputs: ["y"] }] }, "inputs that are computed before it for the operator Relu at the node y"], // prettier-ignore
    ["a kernel of other channels", { nodes: [conv], weights: { w: { shape: [2, 4, 1, 1], values: [1, 2, 3, 4, 5, 6, 7, 8] } }, outputs: ["c"] }, "Expected 4 channels for the operator Conv at the node first"], // prettier-ignore
    ["no images", { nodes: [conv], weights, input: [1, 7] }, "Expected one input of float32 images [batch, 3, height, width]"], // prettier-ignore
  ] as [string, SmallModel, string][])("%s is told", async (_, content, message) => {
    const error = await imported(content).catch((one: unknown) => one);
    expect(error).toBeInstanceOf(UserError);
    expect((error as Error).message).toContain(message);
  });

  test("a tap that is not there, or no feature, is told", async () => {
    await expect(imported(model("resnet_basic"), ["res6"])).rejects.toThrow('received "res6"');
    const all = { op: "ReduceMean", inputs: ["x"], outputs: ["y"], integers: { axes: [0], keepdims: 1 } };
    await expect(imported({ nodes: [all] }, ["y"])).rejects.toThrow("Expected axes within an image");
    const title = importOnnx({ file: model("resnet_basic"), out: root, title: "../up" });
    await expect(title).rejects.toThrow("the title of a backbone");
  });

  test("what leads to no tap is left alone", async () => {
    const nodes = [conv, { op: "NonMaxSuppression", inputs: ["c"], outputs: ["y"] }];
    const { manifest } = await imported({ nodes, weights }, ["c"]);
    expect(manifest.taps.map(({ name }) => name)).toEqual(["c"]);
  });

  test("a network whose images depend on each other keeps the batch that it was exported for", async () => {
    const mean = { op: "ReduceMean", inputs: ["c"], outputs: ["m"], integers: { axes: [0], keepdims: 1 } };
    const nodes = [conv, mean, { op: "Sub", inputs: ["c", "m"], outputs: ["y"] }];
    const { manifest, warnings } = await imported({ nodes, weights, input: [2, 3, 4, 4] }, ["y"]);
    expect(manifest.input.batch).toBe(2);
    expect(warnings.at(-1)).toContain("batches of 2 alone");
  });

  test("a file that was changed anywhere is converted or told, never a crash", async () => {
    const whole = onnxFile({
      nodes: [
        { ...conv, integers: { pads: [1, 1, 1, 1], strides: [1, 1], group: 1 } },
        { op: "Relu", inputs: ["c"], outputs: ["r"] },
        { op: "Transpose", inputs: ["r"], outputs: ["t"], integers: { perm: [0, 2, 3, 1] } },
        { op: "ReduceMean", inputs: ["t"], outputs: ["y"], integers: { axes: [1, 2], keepdims: 0 } },
      ],
      weights,
    });
    const file = path.join(root, "fuzz.onnx");
    const change = fc.record({ at: fc.nat(whole.length - 1), value: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const bytes = Buffer.from(whole);
        for (const { at, value } of changes) bytes[at] = value;
        await fs.writeFile(file, bytes);
        try {
          await traceOnnx({ model: await readOnnx({ file }), taps: ["y"] });
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

/** onnxruntime for Node, where it is installed: it is needed for this test alone. */
interface Runtime {
  InferenceSession: {
    create(
      file: string,
    ): Promise<{ run(feeds: object): Promise<Record<string, { data: Float32Array; dims: number[] }>> }>;
  };
  Tensor: new (type: "float32", data: Float32Array, dims: number[]) => object;
}

function runtime(): Runtime | undefined {
  try {
    return createRequire(__filename)("onnxruntime-node") as Runtime;
  } catch {
    return undefined;
  }
}

const onnxruntime = runtime();

describeOnBackends("onnxruntime-node", () => {
  const reason = onnxruntime ? "" : " (onnxruntime-node is not installed)";
  const run = onnxruntime ? test : test.skip;
  run(`agrees on a random image${reason}`, async () => {
    const file = model("resnet_bottleneck");
    const { dir, manifest } = await imported(file, ["res3", "res5avg"]);
    const { height, width, node } = manifest.input;
    const image = tf.randomNormal<tf.Rank.R4>([1, height, width, 3], 0, 1, "float32", 5);
    const channelsFirst = tf.tidy(() => image.transpose([0, 3, 1, 2]).dataSync() as Float32Array);
    const session = await onnxruntime!.InferenceSession.create(file);
    const input = new onnxruntime!.Tensor("float32", channelsFirst, [1, 3, height, width]);
    const expected = await session.run({ input });
    const forward = await openForwardPass({ files: await openGraphFiles(dir), inputNode: node });
    const outputs = await forward.run({ input: image, nodes: manifest.taps.map((tap) => tap.node) });
    for (const [i, { name }] of manifest.taps.entries()) {
      const { data, dims } = expected[name]!;
      const difference = tf.tidy(() => {
        const theirs = tf.tensor(data, dims);
        const moved = dims.length === 4 ? theirs.transpose([0, 2, 3, 1]) : theirs;
        return moved.sub(outputs[i]!).abs().max().div(moved.abs().max()).dataSync()[0]!;
      });
      expect(difference).toBeLessThan(1e-4);
    }
    forward.dispose();
    tf.dispose([image, ...outputs]);
  });
});
