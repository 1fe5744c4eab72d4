import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { loadGraphModel, openGraphFiles } from "../../lib/backbones/graph-files.js";
import { convertCheckpoint } from "../../lib/convert/convert.js";
import { UserError } from "../../lib/errors.js";
import { zooCheckpoint } from "../../lib/zoo/checkpoint.js";
import { describeOnBackends } from "../backends.js";

// Values of two independent programs, which agree to 1e-5; inputs are normalised NHWC images of 224 × 224.
const references = [
  {
    input: "all 0",
    pixel: () => 0,
    mean: 0.000006,
    norm: 0.00521,
    best: 649,
    most: 0.11657,
    logits: [0.03259, -0.01573, 0.00504],
  },
  {
    input: "all 1",
    pixel: () => 1,
    mean: 0.030424,
    norm: 6.43602,
    best: 111,
    most: 2.50942,
    logits: [-0.12262, 0.30778, 0.18629],
  },
  {
    input: "a ramp",
    pixel: (i: number) => ((i % 256) - 127) / 128,
    mean: 0.143088,
    norm: 16.1401,
    best: 904,
    most: 6.00795,
    logits: [-1.62328, 0.06929, -1.57842],
  },
];

let checkpoint: string;
let out: string;
beforeAll(async () => {
  checkpoint = await zooCheckpoint({ name: "efficientnet-lite0" });
  out = await fs.mkdtemp(path.join(os.tmpdir(), "lite-"));
}, 180_000);
afterAll(() => fs.rm(out, { recursive: true, force: true }));

describeOnBackends("EfficientNet-Lite0 with its published weights", () => {
  test("gives the published network's numbers, and shapes as its manifest says", async () => {
    const { dir, manifest, unused } = await convertCheckpoint({ file: checkpoint, out, title: "imagenet1k" });
    expect(dir).toBe(path.join(out, "imagenet1k", "efficientnet_lite0"));
    expect(unused).toHaveLength(49);
    expect(manifest.parameters! / 1e6).toBeCloseTo(4.63, 2);
    const model = await loadGraphModel(await openGraphFiles(dir));
    const nodes = manifest.taps.map(({ node }) => node);
    for (const { input, pixel, mean, norm, best, most, logits } of references) {
      const images = tf.tensor4d(
        Float32Array.from({ length: 224 * 224 * 3 }, (_, i) => pixel(i)),
        [1, 224, 224, 3],
      );
      const outputs = model.execute({ images }, nodes) as tf.Tensor[];
      expect(outputs.map(({ shape }) => shape.slice(1))).toEqual(manifest.taps.map(({ shape }) => shape));
      const read = (tap: string) => outputs[manifest.taps.findIndex(({ name }) => name === tap)]!.data();
      const features = [...(await read("pooled"))];
      const scores = [...(await read("logits"))];
      const seen = [
        features.reduce((sum, value) => sum + value) / features.length,
        Math.hypot(...features),
        Math.max(...scores),
        ...scores.slice(0, 3),
      ];
      for (const [i, value] of [mean, norm, most, ...logits].entries()) {
        expect([input, i, Math.abs(seen[i]! - value) / Math.max(1, Math.abs(value)) < 1e-4]).toEqual([input, i, true]);
      }
      expect(scores.indexOf(Math.max(...scores))).toBe(best);
      tf.dispose([images, outputs]);
    }
    model.dispose();
  });
});

describe("a damaged copy of the checkpoint", () => {
  const convert = async (change: (bytes: Buffer) => Buffer) => {
    const file = path.join(out, "damaged.pth");
    await fs.writeFile(file, change(await fs.readFile(checkpoint)));
    return convertCheckpoint({ file, out, title: "damaged" });
  };

  test.each([
    ["cut in the weights", (bytes: Buffer) => bytes.subarray(0, bytes.length - 1000), /it ends at byte \d+, where/],
    ["cut in the names", (bytes: Buffer) => bytes.subarray(0, 5000), /it ends at byte 5000/],
    ["with a name misspelt", rename("_conv_head.weight", "_conv_haed.weight"), /the tensor _conv_head\.weight of/],
    ["with a foreign class", rename("OrderedDict", "OrderedDuct"), /asks for the class collections\.OrderedDuct/],
    [
      "with weights that are no numbers",
      (bytes: Buffer) => bytes.fill(0xff, bytes.length >> 1, (bytes.length >> 1) + 400),
      /finite numbers for .* received NaN/,
    ],
  ])("%s is told, and nothing is written", async (_, change, message) => {
    const error: unknown = await convert(change).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toMatch(message);
    expect(await fs.readdir(path.join(out, "damaged")).catch(() => [])).toEqual([]);
  });

  test("a title that is no folder's name is refused", async () => {
    const options = { file: checkpoint, out, title: "../elsewhere" };
    await expect(convertCheckpoint(options)).rejects.toThrow(/for the title of a backbone but received/);
  });
});

function rename(name: string, other: string): (bytes: Buffer) => Buffer {
  return (bytes) => {
    bytes.write(other, bytes.indexOf(name));
    return bytes;
  };
}
