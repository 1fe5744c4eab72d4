import fs from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { loadGraphModel, openGraphFiles } from "../../lib/backbones/graph-files.js";
import { readCheckpoint } from "../../lib/checkpoints/checkpoint.js";
import { convertCheckpoint, type ConvertOptions } from "../../lib/convert/convert.js";
import { formatConversion } from "../../lib/convert/format-conversion.js";
import { UserError } from "../../lib/errors.js";
import { describeOnBackends } from "../backends.js";
import { temporaryFolder } from "../command-line.js";
import { goldenPath } from "../golden.js";
import { squeezenet } from "../models/squeezenet.js";

// A narrow SqueezeNet of PyTorch's with features of an image: bench/peers/golden_squeezenet.py.
const file = goldenPath("convert/squeezenet/weights.pth");
const taps = goldenPath("convert/squeezenet/taps.npz");
const folder = temporaryFolder();
const convert = (options: Partial<ConvertOptions> = {}) =>
  convertCheckpoint({ file, out: folder, title: "narrow", families: [squeezenet], imageSize: 63, ...options });
const complaint = async (options: Partial<ConvertOptions>): Promise<UserError> => {
  const error: unknown = await convert(options).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(UserError);
  return error as UserError;
};

describeOnBackends("convertCheckpoint", () => {
  test("agrees with PyTorch at every tap, and says how well", async () => {
    const converted = await convert({ verify: { file: taps, tolerance: 1e-4 } });
    const { dir, manifest, prefix, wrappers, unused } = converted;
    expect(dir).toBe(path.join(folder, "narrow", "squeezenet1_1"));
    expect(prefix).toBe("state_dict/module.");
    expect(wrappers.map(({ name }) => name)).toEqual(["state_dict", "module"]);
    expect(unused).toEqual([]);
    const { folding, verify, cosine } = manifest.proof!;
    expect(Object.keys(verify!.taps)).toEqual(manifest.taps.map(({ name }) => name));
    expect(Math.max(...Object.values(verify!.taps))).toBeLessThan(1e-5);
    expect(folding).toEqual({ layers: 26, error: expect.any(Number) as number });
    expect(folding!.error).toBeLessThan(1e-5);
    expect(cosine).toBeUndefined();
    expect(manifest.input).toMatchObject({ height: 63, width: 63 });
    expect(manifest.transform).toBe("resize(72,bilinear)|center_crop(63)|normalize(imagenet)");
    const written = JSON.parse(await fs.readFile(path.join(dir, "backbone.json"), "utf8")) as typeof manifest;
    expect(written.proof).toEqual(manifest.proof);
    const text = formatConversion(converted);
    expect(text).toContain("narrow_squeezenet1_1: ");
    expect(text).toContain("under state_dict/module.");
    expect(text).toMatch(/fire7 +map +3x3x32 +avg/);
    expect(text).toMatch(/26 layers agree .* to (the bit|\d\.\de-\d)/);
    expect(text).toMatch(/\n {2}fire7 +\d\.\de-\d +agrees/);
  });

  test.each([
    ["float16", 0.5, 0.99999],
    ["uint8", 0.27, 0.999],
  ] as const)("%s weights take less room, and what that costs is measured", async (precision, share, least) => {
    const sizeOf = async (dir: string) => (await fs.stat(path.join(dir, "group1-shard1of1.bin"))).size;
    const exact = await sizeOf((await convert()).dir);
    const { dir, manifest } = await convert({ precision, title: precision });
    expect(manifest.precision).toBe(precision);
    expect((await sizeOf(dir)) / exact).toBeLessThan(share + 0.1);
    for (const cosine of Object.values(manifest.proof!.cosine!)) {
      expect(cosine).toBeGreaterThan(least);
      expect(cosine).toBeLessThan(1);
    }
    // What TensorFlow.js reads from the files is near PyTorch's.
    const { tensors } = await readCheckpoint({ file: taps });
    const input = tensors.get("input")!;
    const images = tf.tensor(Float32Array.from(await input.read(), Number), input.shape).transpose([0, 2, 3, 1]);
    const model = await loadGraphModel(await openGraphFiles(dir));
    const features = model.execute({ images }, manifest.taps.find(({ name }) => name === "pooled")!.node) as tf.Tensor;
    const expected = await tensors.get("pooled")!.read();
    const received = await features.data();
    const largest = Math.max(...Array.from(expected, Number));
    expect(Math.max(...received.map((value, i) => Math.abs(value - Number(expected[i]))))).toBeLessThan(largest * 0.05);
    tf.dispose([images, features]);
    model.dispose();
  });

  test("leaves no tensors", async () => {
    await convert();
    const before = tf.memory().numTensors;
    await convert({ precision: "uint8", verify: { file: taps, tolerance: 1e-3 } });
    await complaint({ verify: { file: taps, tolerance: 1e-12 }, title: "leaking" });
    expect(tf.memory().numTensors).toBe(before);
  });
});

test("other programs' spellings of a tap's name will do", async () => {
  const renamed = await writeArrays({ input: "input", fire_7: "fire7", fc: "logits" });
  const { manifest } = await convert({ title: "renamed", verify: { file: renamed, tolerance: 1e-4 } });
  expect(Object.keys(manifest.proof!.verify!.taps)).toEqual(["fire7", "logits"]);
});

/** Some of the golden arrays under other names, as a safetensors file. */
async function writeArrays(sources: Record<string, string>): Promise<string> {
  const { tensors } = await readCheckpoint({ file: taps });
  const header: Record<string, object> = {};
  const parts: Buffer[] = [];
  let at = 0;
  for (const [name, source] of Object.entries(sources)) {
    const entry = tensors.get(source)!;
    const data = Buffer.from((await entry.read()).buffer);
    header[name] = { dtype: "F32", shape: entry.shape, data_offsets: [at, (at += data.length)] };
    parts.push(data);
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const renamed = path.join(folder, `${Object.keys(sources).join("-")}.safetensors`);
  await fs.writeFile(renamed, Buffer.concat([length, json, ...parts]));
  return renamed;
}

describe("what is refused", () => {
  test("features that differ by more than the tolerance: a line a tap, and nothing is written", async () => {
    const { message, hint } = await complaint({ verify: { file: taps, tolerance: 1e-12 }, title: "strict" });
    expect(message).toMatch(
      /^Expected every tap to agree with .*taps\.npz to 1e-12 but conv1, .*logits differ by more$/,
    );
    expect(hint!.split("\n")).toHaveLength(12);
    expect(hint).toMatch(/\n {2}conv1 +\d\.\de-\d+ +differs by more than 1e-12/);
    expect(await fs.readdir(folder)).not.toContain("strict");
  });

  test("features of images of another size", async () => {
    const { message, hint } = await complaint({ verify: { file: taps, tolerance: 1e-4 }, imageSize: 95 });
    expect(message).toMatch(/^Expected the shape \[any, 3, 95, 95\] for input in .* but received \[1, 3, 63, 63\]$/);
    expect(hint).toContain("--image-size");
  });

  test("a file without the input, or with arrays of no tap", async () => {
    expect((await complaint({ verify: { file, tolerance: 1e-4 } })).message).toMatch(/^Expected the array input in /);
  });

  test("arrays under names of no tap: the error names the taps that there are", async () => {
    const renamed = await writeArrays({ input: "input", stage_9: "fire7", neck: "fire0" });
    const { message, hint } = await complaint({ verify: { file: renamed, tolerance: 1e-4 } });
    expect(message).toMatch(/^Expected arrays under the names of taps in .* but received stage_9, neck$/);
    expect(hint).toContain("conv1, fire0, fire1");
    const alone = await writeArrays({ input: "input" });
    expect((await complaint({ verify: { file: alone, tolerance: 1e-4 } })).message).toMatch(/received input alone$/);
  });

  test("an image size that the network cannot take", async () => {
    const { message, hint } = await complaint({ imageSize: 9 });
    expect(message).toBe("Expected an image size that squeezenet1_1 can take but received 9");
    expect(hint).toBe("It was made for 224.");
  });

  test("a prefix under which there is nothing, and an architecture that is not known", async () => {
    expect((await complaint({ prefix: "teacher." })).message).toMatch(
      /^Expected tensors under the prefix teacher\. in /,
    );
    expect((await complaint({ arch: "squeezenet1_2" })).hint).toBe("Did you mean squeezenet1_1?");
  });

  test("a GraphModel, which needs no conversion", async () => {
    const { dir } = await convert({ title: "graph" });
    for (const given of [dir, path.join(dir, "model.json")]) {
      const { message, hint } = await complaint({ file: given });
      expect(message).toMatch(/is a TensorFlow\.js GraphModel already$/);
      expect(hint).toContain("inspect");
    }
  });
});

test("a backbone is found by its title and architecture as one name", async () => {
  await convert({ title: "moco_v2" });
  const { modelFile } = await openGraphFiles(path.join(folder, "moco_v2_squeezenet1_1"));
  expect(modelFile).toBe(path.join(folder, "moco_v2", "squeezenet1_1", "model.json"));
  await expect(openGraphFiles(path.join(folder, "moco_v3_squeezenet1_1"))).rejects.toThrow("there is no such file");
});
