import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { openForwardPass } from "../../lib/backbones/forward-pass.js";
import { openGraphFiles } from "../../lib/backbones/graph-files.js";
import { importOnnx } from "../../lib/convert/onnx.js";
import { readNpy } from "../../lib/features/npy-file.js";
import { describeOnBackends } from "../backends.js";
import { golden, goldenPath } from "../golden.js";

const models = ["resnet_basic", "resnet_bottleneck", "mobilenet_v3", "efficientnet", "convnext", "vit_cls", "vit_avg", "vit_reg_swiglu", "dinov2_vit"]; // prettier-ignore

interface Expected {
  taps: Record<string, { shape: number[] }>;
}

let root: string;
beforeAll(async () => (root = await fs.mkdtemp(path.join(os.tmpdir(), "onnx-"))));
afterAll(() => fs.rm(root, { recursive: true }));

/** What the graph that was written gives at its taps for images of [N, H, W, 3]. */
async function run(
  dir: string,
  input: tf.Tensor4D,
  nodes: string[],
): Promise<{ shape: number[]; values: Float32Array }[]> {
  const files = await openGraphFiles(dir);
  const forward = await openForwardPass({ files, inputNode: "images" });
  try {
    const outputs = await forward.run({ input, nodes });
    const results = [];
    for (const output of outputs) results.push({ shape: output.shape, values: (await output.data()) as Float32Array });
    tf.dispose(outputs);
    return results;
  } finally {
    forward.dispose();
  }
}

function furthest(values: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [largest, difference] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]!));
    const distance = Math.abs(values[i]! - expected[i]!);
    difference = Number.isNaN(distance) ? Infinity : Math.max(difference, distance);
  }
  return difference / largest;
}

describeOnBackends("importOnnx", ({ device }) => {
  // Exported and run by PyTorch 2.15: golden/checkpoints.
  test.each(models)("%s agrees with PyTorch at every tap, for any batch", async (name) => {
    const before = tf.memory().numTensors;
    const at = (file: string) => goldenPath(`checkpoints/models/${name}/${file}`);
    const { taps } = golden<Expected>(`checkpoints/models/${name}/expected.json`);
    const { dir, manifest } = await importOnnx({
      file: at("model.onnx"),
      out: path.join(root, device),
      title: "golden",
      arch: name,
      taps: Object.keys(taps),
    });
    expect(manifest.input.batch).toBe("any");
    const image = await readNpy({ file: at("input_nhwc.npy") });
    const [, height, width] = image.shape as [number, number, number, number];
    const twice = Float32Array.from([...(image.data as Float32Array), ...(image.data as Float32Array)]);
    const pair = tf.tensor4d(twice, [2 * image.shape[0]!, height, width, 3]);
    const seen = await run(dir, pair, manifest.taps.map(({ node }) => node)); // prettier-ignore
    pair.dispose();
    const differences: Record<string, number> = {};
    for (const [i, tap] of manifest.taps.entries()) {
      const expected = await readNpy({ file: at(`taps/${tap.name}.npy`) });
      expect([tap.name, seen[i]!.shape]).toEqual([tap.name, [2 * expected.shape[0]!, ...expected.shape.slice(1)]]);
      expect(tap.shape).toEqual(expected.shape.slice(1));
      const half = seen[i]!.values.length / 2;
      const data = expected.data as Float32Array;
      differences[tap.name] = Math.max(furthest(seen[i]!.values.subarray(0, half), data), furthest(seen[i]!.values.subarray(half), data)); // prettier-ignore
    }
    expect(Object.keys(differences).sort()).toEqual(Object.keys(taps).sort());
    expect(Object.entries(differences).filter(([, difference]) => !(difference < 1e-4))).toEqual([]);
    expect(tf.memory().numTensors).toBe(before);
  });
});

interface Operators {
  input: string;
  inputShape: number[];
  cases: { name: string; model: string; shape: number[]; values: string }[];
}

const floats = (base64: string) => new Float32Array(new Uint8Array(Buffer.from(base64, "base64")).buffer);

/** ONNX's values as the tap has them: its axes behind the batch may stand in another order. */
function arranged(values: Float32Array, shape: number[], wanted: number[]): Float32Array[] {
  const orders = permutations(shape.map((_, axis) => axis).slice(1)).filter(
    (order) => order.map((axis) => shape[axis]).join() === wanted.slice(1).join(),
  );
  return orders.map((order) => tf.tidy(() => tf.tensor(values, shape).transpose([0, ...order]).dataSync() as Float32Array)); // prettier-ignore
}

function permutations(items: number[]): number[][] {
  if (items.length < 2) return [items];
  return items.flatMap((item) => permutations(items.filter((other) => other !== item)).map((rest) => [item, ...rest]));
}

describeOnBackends("an operator", ({ device }) => {
  const { input, inputShape, cases } = golden<Operators>("onnx/operators.json");

  // onnxruntime's values: bench/peers/golden_onnx.py.
  test.each(cases.map((one) => [one.name, one] as const))("%s equals onnxruntime", async (_, one) => {
    const [batch, channels, height, width] = inputShape as [number, number, number, number];
    const file = path.join(root, "operator.onnx");
    await fs.writeFile(file, Buffer.from(one.model, "base64"));
    const { dir, manifest } = await importOnnx({ file, out: path.join(root, device), title: "operator", taps: ["y"] });
    expect(manifest.input.batch).toBe("any");
    const images = one.shape[0]!;
    const x = tf.tidy(() => {
      const all = tf.tensor4d(floats(input), [batch, channels, height, width]).transpose([0, 2, 3, 1]);
      return all.slice([0, 0, 0, 0], [images, -1, -1, -1]) as tf.Tensor4D;
    });
    const [seen] = await run(dir, x, [manifest.taps[0]!.node]);
    x.dispose();
    const shape = [images, ...one.shape.slice(1).filter((size, i, all) => size !== 1 || i === all.length - 1 || one.shape.length < 4)]; // prettier-ignore
    expect(seen!.values.length).toBe(shape.reduce((product, size) => product * size, 1));
    const whole =
      seen!.shape.length === one.shape.length ? one.shape : shape.filter((size, i) => i === 0 || size !== 1);
    const differences = arranged(floats(one.values), whole, seen!.shape).map((expected) => furthest(seen!.values, expected)); // prettier-ignore
    expect(Math.min(...differences)).toBeLessThan(2e-5);
  });
});
